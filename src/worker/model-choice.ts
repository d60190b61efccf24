/** Which model `auto` stands for. */
import { access } from "node:fs/promises";
import { join } from "node:path";
import { packageRoot } from "../package-info.ts";

const SDXL_BASE = "stabilityai/stable-diffusion-xl-base-1.0";

/** SDXL where there is a CUDA device to run it, else the model that comes with the package. */
export async function resolveModel(model: string, hasCuda: boolean): Promise<string> {
  if (model !== "auto") return model;
  if (hasCuda) return SDXL_BASE;
  try {
    await access(join(packageRoot(), "models", "demo", "model_index.json"));
    return "demo";
  } catch {
    return "noise";
  }
}
