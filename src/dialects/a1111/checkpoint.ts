/** Models as the web UI calls them: checkpoints with a title. */
import { LatentcastError } from "../../errors.ts";
import type { Checkpoint } from "./schema.ts";

/** Programs take the sizes and steps of a model from this word in its title. */
const FAMILY = "sdxl";

export function checkpointOf(id: string): Checkpoint {
  const title = id.toLowerCase().includes(FAMILY) ? id : `${id} [${FAMILY}]`;
  return { title, model_name: id, hash: null, sha256: null, filename: id, config: null };
}

/**
 * The model of a checkpoint. Throws `not_found`, naming what there is, for one that is not here.
 * @param name Its title, or what programs make of one: without the part in brackets, without the extension, in any case.
 */
export function findCheckpoint(name: string, models: readonly string[]): string {
  const found = models.find((id) => id === name) ?? models.find((id) => plainName(id) === plainName(name));
  if (found !== undefined) return found;
  const titles = models.map((id) => JSON.stringify(checkpointOf(id).title)).join(", ");
  throw new LatentcastError("not_found", {
    message: `The checkpoint ${JSON.stringify(name)} is not here; there is ${titles}.`,
  });
}

function plainName(name: string): string {
  return name
    .trim()
    .toLowerCase()
    .replace(/\s*\[[^\]]*\]$/, "")
    .replace(/\.safetensors$/, "");
}
