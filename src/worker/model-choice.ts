/** Which model `auto` stands for. */

const SDXL_BASE = "stabilityai/stable-diffusion-xl-base-1.0";

/** SDXL where there is a GPU to run it, else the model that comes with the package. */
export function resolveModel(model: string, hasGpu: boolean): string {
  if (model !== "auto") return model;
  return hasGpu ? SDXL_BASE : "demo";
}
