import { describe, expect, it } from "vitest";
import { explainFailure, explainSystemError, SetupError } from "../../../src/python/setup-error.ts";

/** As pip prints them. */
const PIP_OUTPUT: readonly (readonly [code: string, ...output: string[]])[] = [
  [
    "no_network",
    "WARNING: Retrying (Retry(total=4, connect=None, read=None, redirect=None, status=None)) after connection broken by 'NewConnectionError('<pip._vendor.urllib3.connection.HTTPSConnection object at 0x7f>: Failed to establish a new connection: [Errno -3] Temporary failure in name resolution')': /simple/torch/",
    "ERROR: Could not find a version that satisfies the requirement torch==2.13.0 (from versions: none)",
    "ERROR: No matching distribution found for torch==2.13.0",
  ],
  ["no_network", "ReadTimeoutError: HTTPSConnectionPool(host='files.example', port=443): Read timed out."],
  ["no_network", "ERROR: Could not install packages: ProxyError('Cannot connect to proxy.')"],
  [
    "certificate",
    "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed'))",
  ],
  ["disk_full", "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"],
  ["disk_full", "OSError: [Errno 122] Disk quota exceeded: '/home/a/.venv/lib/libtorch.so'"],
  [
    "permission_denied",
    "ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: '/srv/.venv'",
  ],
  [
    "no_release",
    "ERROR: Could not find a version that satisfies the requirement torch==2.13.0 (from versions: 2.14.0)",
    "ERROR: No matching distribution found for torch==2.13.0",
  ],
  ["out_of_memory", "MemoryError"],
  ["install_failed", "error: subprocess-exited-with-error"],
];

describe("explainFailure", () => {
  it.each(PIP_OUTPUT)("finds %s in what pip printed", (code, ...output) => {
    const error = explainFailure("Installing", output, "/srv/.venv");
    expect(error).toBeInstanceOf(SetupError);
    expect(error.code).toBe(code);
  });

  it.each(PIP_OUTPUT)("says %s in one line with what to do", (_code, ...output) => {
    const { message, hint } = explainFailure("Installing", output, "/srv/.venv");
    expect(message).not.toContain("\n");
    expect(message.endsWith(hint)).toBe(true);
    expect(hint.length).toBeGreaterThan(10);
  });

  it("names pip's own last error when it knows no better", () => {
    const { message } = explainFailure("Installing", ["ERROR: first", "ERROR: the last one", "[notice] new pip"], "/x");
    expect(message).toContain("the last one");
  });
});

describe("explainSystemError", () => {
  it.each([
    ["ENOSPC", "disk_full"],
    ["EACCES", "permission_denied"],
    ["EROFS", "permission_denied"],
  ])("turns %s into %s", (code, expected) => {
    const thrown = Object.assign(new Error("no"), { code });
    expect(explainSystemError(thrown, "Making", "/x")).toMatchObject({ code: expected });
  });

  it("gives every other error back as it is", () => {
    const thrown = Object.assign(new Error("no"), { code: "EISDIR" });
    expect(explainSystemError(thrown, "Making", "/x")).toBe(thrown);
    expect(explainSystemError("text", "Making", "/x")).toBe("text");
  });
});
