/** Which models a worker is started with. */

const SDXL_BASE = "stabilityai/stable-diffusion-xl-base-1.0";

/** As the setting names them. `auto` is SDXL where there is a GPU to run it, else the model that comes with the package. */
export function resolveModels(models: string | readonly string[], hasGpu: boolean): string[] {
  return [models].flat().map((model) => resolveModel(model, hasGpu));
}

function resolveModel(model: string, hasGpu: boolean): string {
  if (model !== "auto") return model;
  return hasGpu ? SDXL_BASE : "demo";
}
