import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { resolveDevices } from "../../../src/worker/devices.ts";
import { queryCudaDevices, readDevice } from "../../../src/worker/nvidia.ts";

let folder: string | undefined;

afterEach(async () => {
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

/** A PATH on which `nvidia-smi` is this shell script. */
async function driver(script: string): Promise<{ PATH: string }> {
  folder = await mkdtemp(join(tmpdir(), "latentcast-driver-"));
  const tool = join(folder, "nvidia-smi");
  await writeFile(tool, `#!/bin/sh\n${script}\n`);
  await chmod(tool, 0o755);
  return { PATH: `${folder}:/usr/bin:/bin` };
}

const twoDevices = 'printf "0, 580.95.05, 143771, NVIDIA H200\\n1, 580.95.05, 81559, NVIDIA H100 80GB HBM3\\n"';

describe("readDevice", () => {
  it("reads one line of the driver's table", () => {
    expect(readDevice("0, 580.95.05, 143771, NVIDIA H200")).toEqual({
      index: "0",
      name: "NVIDIA H200",
      driver: "580.95.05",
      memoryBytes: 143_771 * 2 ** 20,
    });
  });

  it("keeps a device whose memory the driver does not report", () => {
    expect(readDevice("1, 550.54, [N/A], NVIDIA GB10")).toMatchObject({ index: "1", memoryBytes: null });
  });

  it("takes any other line for no device", () => {
    expect(readDevice("No devices were found")).toBeNull();
  });
});

describe("queryCudaDevices", () => {
  it("finds none when the driver's tool is missing or fails", async () => {
    expect(await queryCudaDevices({ PATH: "/nonexistent" })).toEqual([]);
    expect(await queryCudaDevices(await driver(`${twoDevices}; exit 9`))).toEqual([]);
  });
});

describe("resolveDevices", () => {
  it("auto takes one worker per CUDA device", async () => {
    expect(await resolveDevices(["auto"], await driver(twoDevices))).toEqual([
      { kind: "cuda", visible: "0" },
      { kind: "cuda", visible: "1" },
    ]);
  });

  it("counts only the devices that CUDA_VISIBLE_DEVICES leaves", async () => {
    const env = { ...(await driver(twoDevices)), CUDA_VISIBLE_DEVICES: "1" };
    expect(await resolveDevices(["cuda:0"], env)).toEqual([{ kind: "cuda", visible: "1" }]);
    expect(await resolveDevices(["auto"], { ...env, CUDA_VISIBLE_DEVICES: "" })).toEqual([{ kind: "cpu" }]);
  });

  it("auto is the CPU on a machine without a driver", async () => {
    expect(await resolveDevices(["auto"], { PATH: "/nonexistent" })).toEqual([{ kind: "cpu" }]);
  });

  it("devices of other makers are those that are named", async () => {
    expect(await resolveDevices(["rocm:1", "xpu:0", "mps", "cpu"], { PATH: "/nonexistent" })).toEqual([
      { kind: "rocm", visible: "1" },
      { kind: "xpu", visible: "0" },
      { kind: "mps" },
      { kind: "cpu" },
    ]);
  });

  it("workers that share the CPU get equal parts of its cores", async () => {
    expect(await resolveDevices(["cpu", "cpu"], {})).toEqual([
      { kind: "cpu", share: { index: 0, count: 2 } },
      { kind: "cpu", share: { index: 1, count: 2 } },
    ]);
  });
});
