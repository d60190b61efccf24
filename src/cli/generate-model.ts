/** Which model `latentcast generate` draws with. */
import { basename, join } from "node:path";
import type { Config } from "../config.ts";
import { UsageError } from "./arguments.ts";
import { exists, modelsInFolder } from "./models-folder.ts";

const BUILT_IN = ["auto", "demo", "noise"];

/**
 * What the flag names, for which a server's models have their own names: `--model pony.safetensors` is the one in the configured
 * folder of models. What is there by that very path, and the models that come with the package, go first.
 *
 * Throws {@link UsageError} for several: only servers have requests to choose from them.
 */
export async function modelToDraw(named: Config["model"], configured: Config["model"]): Promise<string> {
  if (typeof named !== "string") {
    throw new UsageError(`generate draws with one model: --model was given ${named.length} times`);
  }
  if (BUILT_IN.includes(named) || (await exists(named))) return named;
  for (const model of [configured].flat()) {
    if (basename(model) === named) return model;
    if ((await modelsInFolder(model)).includes(named)) return join(model, named);
  }
  return named;
}
