import { createServer } from "node:net";
import { describe, expect, it } from "vitest";
import { checkDisk, checkMemory, checkNative, checkNode, checkPort } from "../../../src/cli/doctor-checks.ts";
import { checkDriver } from "../../../src/cli/doctor-gpu.ts";

const GIBIBYTE = 2 ** 30;

describe("checkNode", () => {
  it.each([
    ["20.18.3", "fail"],
    ["20.19.0", "ok"],
    ["18.20.0", "fail"],
    ["22.1.0", "ok"],
  ])("finds %s %s", (version, state) => {
    expect(checkNode(version).state).toBe(state);
  });
});

describe("checkDriver", () => {
  const device = { index: "0", name: "NVIDIA A100", driver: "570.86.15", memoryBytes: 80 * GIBIBYTE };
  const packages = { torch: "2.13.0", cuda: "13.0", cudaAvailable: true };

  it("refuses a driver that is too old for the CUDA of the installed torch, naming both", () => {
    const check = checkDriver([device], packages);
    expect(check.state).toBe("fail");
    expect(check.hint).toContain("13.0");
    expect(check.hint).toContain("580");
  });

  it("takes the same driver with a torch of the CUDA before", () => {
    expect(checkDriver([device], { ...packages, cuda: "12.8" }).state).toBe("ok");
  });

  it("warns of a torch that cannot use the device that is there", () => {
    expect(checkDriver([device], { ...packages, cuda: null, cudaAvailable: false }).state).toBe("warn");
    const unusable = checkDriver([{ ...device, driver: "580.95.05" }], { ...packages, cudaAvailable: false });
    expect(unusable.state).toBe("fail");
  });

  it("only warns where there is no device", () => {
    expect(checkDriver([], packages).state).toBe("warn");
  });
});

describe("checkMemory", () => {
  it("asks the device first, then the host", () => {
    expect(checkMemory(8 * GIBIBYTE, 64 * GIBIBYTE).state).toBe("warn");
    expect(checkMemory(24 * GIBIBYTE, 12 * GIBIBYTE).state).toBe("ok");
    expect(checkMemory(null, 12 * GIBIBYTE).state).toBe("warn");
    expect(checkMemory(null, 32 * GIBIBYTE).state).toBe("ok");
  });
});

describe("checkNative", () => {
  it("says in one line why a library does not load", async () => {
    const check = await checkNative("sharp", () => Promise.reject(new Error("no glibc\nlong advice")));
    expect(check).toMatchObject({ state: "fail", text: "does not load (no glibc)" });
  });
});

describe("checkDisk", () => {
  it("names what there is no room for", async () => {
    const check = await checkDisk([
      { path: "/", needsBytes: 0, what: "nothing" },
      { path: "/", needsBytes: Number.MAX_SAFE_INTEGER, what: "the moon" },
    ]);
    expect(check.state).toBe("fail");
    expect(check.hint).toContain("the moon");
  });
});

describe("checkPort", () => {
  it("distinguishes a taken port from a free one", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    expect((await checkPort("127.0.0.1", port)).state).toBe("fail");
    await new Promise((resolve) => server.close(resolve));
    expect((await checkPort("127.0.0.1", port)).state).toBe("ok");
  });
});
