import { describe, expect, it } from "vitest";
import { workerSettings } from "../../../src/protocol/worker-settings.ts";
import type { Device } from "../../../src/worker/devices.ts";
import { workerLaunch } from "../../../src/worker/launch.ts";

const settings = {
  endpoint: "ipc:///tmp/workers",
  slot: 1,
  incarnation: 2,
  models: ["a model, by name"],
  tiny_vae: "tiny",
  vae: "a VAE, by name",
  prediction_type: "v_prediction" as const,
  distillation: "lcm" as const,
  cache_dir: "/cache",
  max_batch: null,
  lora_dir: "/loras",
  shortcuts: [],
};

function launched(device: Device) {
  const launch = workerLaunch({
    env: { PATH: "/bin", SECRET: "x" },
    python: "/venv/bin/python",
    pythonPath: "/package/python",
    device,
    settings,
  });
  const [safePath, module, name, flag, document, ...rest] = launch.args;
  expect([safePath, module, name, flag, rest]).toEqual(["-P", "-m", "latentcast_worker", "--settings", []]);
  return { ...launch, settings: workerSettings.parse(JSON.parse(document ?? "")) };
}

describe("a worker's launch", () => {
  it("carries every setting in one document", () => {
    expect(launched({ kind: "cpu" }).settings).toEqual({ ...settings, device: "cpu", cpu_share: null });
  });

  it("gives a worker that shares the CPU its part of the cores", () => {
    const share = { index: 1, count: 2 };
    expect(launched({ kind: "cpu", share }).settings).toMatchObject({ device: "cpu", cpu_share: share });
  });

  it("shows a CUDA worker its own device only", () => {
    const { settings: given, env } = launched({ kind: "cuda", visible: "3" });
    expect(given).toMatchObject({ device: "cuda:0", cpu_share: null });
    expect(env).toMatchObject({ CUDA_VISIBLE_DEVICES: "3", CUDA_DEVICE_ORDER: "PCI_BUS_ID" });
  });

  it("keeps a worker to its device with the variables of that device's driver", () => {
    const amd = launched({ kind: "rocm", visible: "1" });
    expect(amd.settings).toMatchObject({ device: "cuda:0", cpu_share: null });
    expect(amd.env).toMatchObject({ HIP_VISIBLE_DEVICES: "1", MIOPEN_FIND_MODE: "FAST" });
    const intel = launched({ kind: "xpu", visible: "2" });
    expect(intel.settings).toMatchObject({ device: "xpu:0", cpu_share: null });
    expect(intel.env).toMatchObject({ ZE_AFFINITY_MASK: "2" });
    expect(launched({ kind: "mps" }).settings).toMatchObject({ device: "mps", cpu_share: null });
  });

  it("leaves alone what was decided about AMD's search for kernels", () => {
    const { env } = workerLaunch({
      env: { MIOPEN_FIND_MODE: "NORMAL", HSA_OVERRIDE_GFX_VERSION: "11.0.0" },
      python: "python",
      pythonPath: "",
      device: { kind: "rocm", visible: "0" },
      settings,
    });
    expect(env).toMatchObject({ MIOPEN_FIND_MODE: "NORMAL", HSA_OVERRIDE_GFX_VERSION: "11.0.0" });
  });

  it("passes no variable on that workers do not need", () => {
    const { env } = launched({ kind: "cpu" });
    expect(env).toMatchObject({ PATH: "/bin", PYTHONPATH: "/package/python" });
    expect(env).not.toHaveProperty("SECRET");
    expect(env).not.toHaveProperty("CUDA_VISIBLE_DEVICES");
  });

  it("is refused for settings that no worker could read", () => {
    const wrong = { ...settings, incarnation: -1 };
    expect(() =>
      workerLaunch({ env: {}, python: "python", pythonPath: "", device: { kind: "cpu" }, settings: wrong }),
    ).toThrow("incarnation");
  });
});
