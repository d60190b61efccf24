/** CUDA devices and whether their driver is new enough for the torch that is pinned. */
import { runCommand } from "../python/command.ts";
import { fail, ok, warn, type Check } from "./doctor-checks.ts";
import type { ImportedPackages } from "./doctor-python.ts";

export interface CudaDevice {
  readonly name: string;
  readonly driver: string;
  readonly memoryBytes: number;
}

/**
 * Oldest driver branch by major version of the CUDA that torch was built with, from NVIDIA's CUDA Toolkit release notes, table
 * "CUDA Toolkit and Minimum Required Driver Version for CUDA Minor Version Compatibility". torch 2.13 from the package index is
 * built with CUDA 13.0.
 */
const OLDEST_DRIVER: Readonly<Record<string, number>> = { "11": 450, "12": 525, "13": 580 };

/** A driver that does not answer within this time is broken. */
const DRIVER_TIMEOUT_MS = 5_000;

/** None without a driver that answers. */
export async function queryDevices(env: Readonly<Record<string, string | undefined>>): Promise<CudaDevice[]> {
  const query = ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader,nounits"];
  try {
    const signal = AbortSignal.timeout(DRIVER_TIMEOUT_MS);
    const { code, stdout } = await runCommand("nvidia-smi", query, { env, signal });
    return code === 0 ? stdout.map(readDevice).filter((device) => device !== null) : [];
  } catch {
    return [];
  }
}

/** One line of nvidia-smi's table: `NVIDIA H200, 580.95.05, 143771`, the last in MiB. */
export function readDevice(line: string): CudaDevice | null {
  const [name, driver, memory] = line.split(",").map((field) => field.trim());
  if (name === undefined || driver === undefined || memory === undefined || !/^\d+$/.test(memory)) return null;
  return { name, driver, memoryBytes: Number(memory) * 2 ** 20 };
}

/** @param packages What was imported in the worker's Python; null when that failed, and then only the devices are told. */
export function checkDriver(devices: readonly CudaDevice[], packages: ImportedPackages | null): Check {
  const [first] = devices;
  if (first === undefined)
    return warn("GPU", "no CUDA device is seen", "pictures are made on the CPU; SDXL takes minutes there");
  const text = `${devices.map(({ name }) => name).join(", ")}, driver ${first.driver}`;
  if (packages === null) return ok("GPU", text);
  const { torch, cuda, cudaAvailable } = packages;
  if (cuda === null) {
    return warn(
      "GPU",
      `${text}, but torch ${torch} is built for the CPU`,
      "install a CUDA build of torch to use the device",
    );
  }
  const oldest = OLDEST_DRIVER[cuda.split(".")[0] ?? ""];
  if (oldest !== undefined && Number.parseInt(first.driver, 10) < oldest) {
    return fail("GPU", text, `torch ${torch} is built with CUDA ${cuda}, which needs driver ${oldest} or newer`);
  }
  if (!cudaAvailable)
    return fail("GPU", `${text}, but torch cannot use it`, "run `nvidia-smi` and look at the driver's log");
  return ok("GPU", `${text}, CUDA ${cuda}`);
}
