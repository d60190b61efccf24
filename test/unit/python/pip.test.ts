import { describe, expect, it } from "vitest";
import { pipEnvironment, pipReader, type PipProgress } from "../../../src/python/pip.ts";

function progressOf(...lines: readonly string[]): PipProgress[] {
  const seen: PipProgress[] = [];
  const read = pipReader((progress) => seen.push(progress));
  for (const line of lines) read(line);
  return seen;
}

describe("pipReader", () => {
  it("names the phase, the package and its size", () => {
    const texts = progressOf(
      "Collecting torch==2.13.0 (from -r /srv/requirements.txt (line 8))",
      "  Downloading torch-2.13.0-cp311-none-manylinux_2_28_x86_64.whl (780.3 MB)",
      "  Using cached numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.whl (18.2 MB)",
      "Processing ./wheels/torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl (from -r /srv/requirements.txt (line 8))",
      "Installing collected packages: mpmath, typing-extensions, torch",
    ).map(({ text }) => text);
    expect(texts).toEqual([
      "resolving torch==2.13.0",
      "downloading torch-2.13.0 (780.3 MB)",
      "found numpy-2.4.6 (18.2 MB)",
      "found torch-2.13.0+cpu",
      "installing 3 packages",
    ]);
  });

  it("reports a download once for each whole per cent", () => {
    const seen = progressOf(
      "  Downloading a-1.0-py3-none-any.whl (1 kB)",
      "Progress 0 of 1000",
      "Progress 4 of 1000",
      "Progress 10 of 1000",
      "Progress 1000 of 1000",
    );
    expect(seen.map(({ fraction }) => fraction)).toEqual([null, 0, 0.01, 1]);
  });

  it("leaves out what is no phase", () => {
    expect(progressOf("Looking in links: /wheels", "", "Successfully installed a-1.0", "WARNING: no")).toEqual([]);
  });
});

describe("pipEnvironment", () => {
  it("keeps the user's pip settings", () => {
    const kept = {
      PIP_INDEX_URL: "https://index.example/simple",
      PIP_CERT: "/ca.pem",
      HTTPS_PROXY: "http://p",
      HOME: "/h",
    };
    expect(pipEnvironment(kept)).toEqual(kept);
  });

  it("drops what would install elsewhere, and keys", () => {
    const dropped = { PIP_TARGET: "/t", PIP_USER: "1", PYTHONHOME: "/p", PYTHONPATH: "/q", LATENTCAST_API_KEYS: "k" };
    expect(pipEnvironment(dropped)).toEqual({});
  });
});
