/** Machines of strangers: folders that cannot be written, modules in the current folder, variables that others set. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { eventually, useCommandLine } from "../support/command-line.ts";
import { testPython } from "../support/server.ts";

const cli = useCommandLine();

/** The status of `GET /ready` once it is 200; fails when it never is. */
function ready(url: string): Promise<number> {
  return eventually(async () => {
    const { status } = await fetch(`${url}/ready`);
    if (status !== 200) throw new Error(`GET /ready: ${status}`);
    return status;
  });
}

/** The environment of the first worker's process. */
async function workerEnvironment(url: string): Promise<string[]> {
  const { workers } = (await (await fetch(`${url}/health`)).json()) as { workers: { pid: number }[] };
  return (await readFile(`/proc/${workers[0]?.pid ?? 0}/environ`, "utf8")).split("\0");
}

describe("a server", () => {
  it("does not run modules of the folder that it is started in", async () => {
    const folder = join(cli.directory, "here");
    const trace = join(cli.directory, "executed");
    await mkdir(folder);
    for (const name of ["random", "json", "torch", "numpy", "sitecustomize", "latentcast_worker"]) {
      await writeFile(
        join(folder, `${name}.py`),
        `open(${JSON.stringify(trace)}, "a").write("${name} ")\nraise SystemExit(9)\n`,
      );
    }
    const env = {
      LATENTCAST_PYTHON: testPython(),
      LATENTCAST_MODEL: "noise",
      LATENTCAST_MAX_BATCH: "1",
      LATENTCAST_WORKER_THREADS: "1",
      PYTHONPATH: folder,
      PYTHONSTARTUP: join(folder, "random.py"),
    };
    const { url } = await cli.serve({ cwd: folder, env });
    expect(await ready(url)).toBe(200);
    await expect(readFile(trace, "utf8")).rejects.toThrow("ENOENT");
  }, 180_000);

  it("starts with a cache folder that cannot be written, and says so in one line", async () => {
    await writeFile(join(cli.directory, "file"), "");
    const cache = join(cli.directory, "file", "cache");
    const { url, output } = await cli.serve({ env: { LATENTCAST_CACHE_DIR: cache } });
    expect(await ready(url)).toBe(200);
    expect(
      output()
        .out.split("\n")
        .filter((line) => line.includes("LATENTCAST_CACHE_DIR")),
    ).toHaveLength(1);
  });

  it.each(["missing", "x".repeat(95)])("starts with the temporary folder %s", async (name) => {
    const folder = join(cli.directory, name);
    if (name !== "missing") await mkdir(folder);
    const { url } = await cli.serve({ env: { TMPDIR: folder } });
    expect(await ready(url)).toBe(200);
  });

  it("starts beside a Kubernetes Service of its name, and says in one line which variable it ignores", async () => {
    const { url, output } = await cli.serve({ env: { LATENTCAST_PORT: "tcp://10.43.7.21:80" } });
    expect(await ready(url)).toBe(200);
    expect(output().err).not.toContain("10.43.7.21");
    const plain = await cli.finish(["doctor", "--json"], {
      env: { LATENTCAST_PORT: "tcp://10.43.7.21:80", LATENTCAST_PYTHON: "/nowhere/python" },
    });
    expect(plain.err.match(/LATENTCAST_PORT=tcp/g)).toHaveLength(1);
    expect(plain.code).toBe(1);
  });

  it("starts for a user without a home when its folders are named", async () => {
    const { url } = await cli.serve({ env: { HOME: "" }, wrapper: ["env", "-u", "HOME"] });
    expect(await ready(url)).toBe(200);
  });

  it("shows the name of a model's folder and never its path", async () => {
    const model = join(cli.directory, "alices secret model");
    const { url } = await cli.serve({ env: { LATENTCAST_MODEL: model, LATENTCAST_PYTHON: testPython() } });
    const health = await eventually(async () => {
      const text = await (await fetch(`${url}/health`)).text();
      expect(JSON.parse(text)).toMatchObject({
        workers: [{ last_error: expect.stringContaining("alices secret model") }],
      });
      return text;
    });
    expect(health).not.toContain(cli.directory);
  });

  it.each([
    [{}, /^\d+$/],
    [{ GOMP_SPINCOUNT: "7" }, /^7$/],
    [{ OMP_WAIT_POLICY: "ACTIVE" }, undefined],
  ])("with %j has workers that wait for one another as they should beside other programs", async (env, expected) => {
    const { url } = await cli.serve({ env });
    expect(await ready(url)).toBe(200);
    const spins = (await workerEnvironment(url)).find((entry) => entry.startsWith("GOMP_SPINCOUNT="))?.split("=")[1];
    if (expected === undefined) expect(spins).toBeUndefined();
    else expect(spins).toMatch(expected);
  });
});
