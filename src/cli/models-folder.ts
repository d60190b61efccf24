/** Folders of models: what `--model` may name in the place of one model. */
import { access, readdir } from "node:fs/promises";
import { join } from "node:path";

/** What every diffusers folder has; a download that was interrupted lacks it. */
export const MODEL_FILE = "model_index.json";

/** The names of the models of a folder of models; empty for anything else. */
export async function modelsInFolder(path: string): Promise<string[]> {
  try {
    const names = await readdir(path);
    if (await isModelFolder(path)) return [];
    const isModel = async (name: string): Promise<boolean> =>
      name.endsWith(".safetensors") || (await isModelFolder(join(path, name)));
    const areModels = await Promise.all(names.map(isModel));
    return names.filter((_, index) => areModels[index]);
  } catch {
    return [];
  }
}

/** By the worker's rule. */
async function isModelFolder(path: string): Promise<boolean> {
  return (await exists(join(path, MODEL_FILE))) || exists(join(path, "unet"));
}

export async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}
