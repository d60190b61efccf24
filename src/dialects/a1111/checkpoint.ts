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
 * Throws `not_found`, naming what there is, for a checkpoint that is not loaded.
 * @param name Its title, or what programs make of one: without the part in brackets, without the extension, in any case.
 */
export function requireCheckpoint(name: string, loaded: string): void {
  if (plainName(name) === plainName(loaded)) return;
  throw new LatentcastError("not_found", {
    message: `The checkpoint ${JSON.stringify(name)} is not here; there is ${JSON.stringify(checkpointOf(loaded).title)}.`,
  });
}

function plainName(name: string): string {
  return name
    .trim()
    .toLowerCase()
    .replace(/\s*\[[^\]]*\]$/, "")
    .replace(/\.safetensors$/, "");
}
