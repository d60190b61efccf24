/** The operator's folder of LoRAs, as requests name what is in it. */
import { readdir, stat } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import type { ListedLora } from "../schema/loras.ts";

const SUFFIX = ".safetensors";

/** By name, as the folder is now. Empty without a folder, and while it cannot be read. Links are not followed, as in the worker. */
export async function listLoras(folder: string | null): Promise<ListedLora[]> {
  if (folder === null) return [];
  try {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile() && entry.name.endsWith(SUFFIX));
    const listed = await Promise.all(files.map(({ parentPath, name }) => describe(folder, join(parentPath, name))));
    return listed.toSorted((a, b) => (a.path < b.path ? -1 : 1));
  } catch {
    // Somebody works in it; the next call sees how it is then.
    return [];
  }
}

async function describe(folder: string, file: string): Promise<ListedLora> {
  const { size } = await stat(file);
  const path = relative(folder, file).split(sep).join("/").slice(0, -SUFFIX.length);
  return { path, size_bytes: size };
}
