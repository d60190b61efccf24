/** CUDA devices and whether their driver is new enough for the torch that is pinned. */
import type { CudaDevice } from "../worker/nvidia.ts";
import { fail, ok, warn, type Check } from "./doctor-checks.ts";
import type { ImportedPackages } from "./doctor-python.ts";

/**
 * Oldest driver branch by major version of the CUDA that torch was built with, from NVIDIA's CUDA Toolkit release notes, table
 * "CUDA Toolkit and Minimum Required Driver Version for CUDA Minor Version Compatibility". torch 2.13 from the package index is
 * built with CUDA 13.0.
 */
const OLDEST_DRIVER: Readonly<Record<string, number>> = { "11": 450, "12": 525, "13": 580 };

/** @param packages What was imported in the worker's Python; null when that failed: then only the devices are reported. */
export function checkDriver(devices: readonly CudaDevice[], packages: ImportedPackages | null): Check {
  const [first] = devices;
  if (first === undefined)
    return warn("GPU", "no CUDA device was found", "images are made on the CPU, where SDXL takes minutes");
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
    return fail("GPU", `${text}, but torch cannot use it`, "run `nvidia-smi` and read the driver's log");
  return ok("GPU", `${text}, CUDA ${cuda}`);
}
