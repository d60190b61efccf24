/** Whether the folder of LoRAs is there, before a model is loaded for it. */
import { stat } from "node:fs/promises";
import { ConfigError } from "../config.ts";

/** Throws {@link ConfigError}. */
export async function checkLoraFolder(folder: string | null): Promise<void> {
  if (folder === null) return;
  const found = await stat(folder).catch(() => undefined);
  if (found?.isDirectory() !== true) throw new ConfigError(`--lora-dir: there is no folder ${folder}`);
}
