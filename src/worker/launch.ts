/** The command line and the environment of a worker process. */
import type { Config } from "../config.ts";
import type { Environment } from "../config/environment.ts";
import type { Launch } from "../processes/child.ts";
import { workerSettings, type WorkerSettings } from "../protocol/worker-settings.ts";
import { childEnvironment } from "./child-environment.ts";
import type { Device } from "./devices.ts";

export interface WorkerLaunchOptions {
  readonly env: Environment;
  /** The interpreter, and what it is to run in place of `-P -m latentcast_worker`. */
  readonly python: string;
  readonly program?: readonly string[] | undefined;
  /** The folder of the Python package. */
  readonly pythonPath: string;
  readonly device: Device;
  readonly settings: Omit<WorkerSettings, "device" | "cpu_share">;
}

/**
 * How often a thread of a worker looks whether the others are done before it sleeps. As quick as OpenMP's own 300,000 on a quiet machine,
 * and beside a program that needs a core a step takes 4 times as long instead of 30, until the worker has seen that (`shared_cores.py`):
 * see "Beside other programs" in docs/performance.md.
 */
const OPENMP_SPINS = "4000";

/** `-P`: modules of the current folder, such as a `random.py`, do not take the place of the standard library's. */
const WORKER_PROGRAM = ["-P", "-m", "latentcast_worker"];

export function workerLaunch(options: WorkerLaunchOptions): Launch {
  const { env, python, program = WORKER_PROGRAM, pythonPath, device } = options;
  const settings = workerSettings.parse({ ...options.settings, ...deviceSettings(device) });
  return {
    file: python,
    args: [...program, "--settings", JSON.stringify(settings)],
    env: childEnvironment(env, {
      PYTHONPATH: pythonPath,
      // Log lines when they are written, and no .pyc files in an installed package.
      PYTHONUNBUFFERED: "1",
      PYTHONDONTWRITEBYTECODE: "1",
      ...openmpWaiting(env),
      ...deviceVariables(device, env),
    }),
  };
}

/** Whoever decides about it keeps the decision: the policy is only a coarser way to say how often. */
function openmpWaiting(env: Environment): Record<string, string> {
  const isDecided = env["GOMP_SPINCOUNT"] !== undefined || env["OMP_WAIT_POLICY"] !== undefined;
  return isDecided ? {} : { GOMP_SPINCOUNT: OPENMP_SPINS };
}

/** The settings of a worker that come from the server's own. */
export function configuredSettings(
  config: Config,
): Omit<WorkerSettings, "endpoint" | "slot" | "incarnation" | "models" | "device" | "cpu_share"> {
  return {
    tiny_vae: config.tinyVae,
    vae: config.vae,
    prediction_type: config.predictionType,
    distillation: config.distillation,
    cache_dir: config.cacheDir,
    max_batch: config.maxBatch,
    lora_dir: config.loraDir,
    shortcuts: [...config.shortcuts],
  };
}

/** How a worker is kept to its device, by the variables of that device's driver. */
function deviceVariables(device: Device, env: Environment): Record<string, string> {
  switch (device.kind) {
    case "cuda":
      return { CUDA_VISIBLE_DEVICES: device.visible, CUDA_DEVICE_ORDER: "PCI_BUS_ID" };
    case "rocm":
      // MIOpen's own way tries every kernel in the first call of each size, for minutes (ROCm/legacy-rocm-build#5474).
      return { HIP_VISIBLE_DEVICES: device.visible, MIOPEN_FIND_MODE: env["MIOPEN_FIND_MODE"] ?? "FAST" };
    case "xpu":
      return { ZE_AFFINITY_MASK: device.visible };
    case "mps":
    case "cpu":
      return {};
  }
}

function deviceSettings(device: Device): Pick<WorkerSettings, "device" | "cpu_share"> {
  switch (device.kind) {
    case "cuda":
    // To torch, AMD's devices are CUDA devices.
    case "rocm":
      return { device: "cuda:0", cpu_share: null };
    case "xpu":
      return { device: "xpu:0", cpu_share: null };
    case "mps":
      return { device: "mps", cpu_share: null };
    case "cpu":
      return { device: "cpu", cpu_share: device.share ?? null };
  }
}
