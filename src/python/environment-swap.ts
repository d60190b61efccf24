/** Puts an environment that was made beside another in its place. */
import { lstat, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Scripts are a few hundred bytes; what is larger is a program that holds no path of its own. */
const LARGEST_SCRIPT_BYTES = 100_000;

/** The new one is complete before this is called; an interruption between the two moves is mended by {@link finishSwap}. */
export async function swap(made: string, directory: string): Promise<void> {
  const old = `${directory}.old`;
  await rm(old, { recursive: true, force: true });
  await relocate(made, directory);
  await moveIfThere(directory, old);
  await rename(made, directory);
  await rm(old, { recursive: true, force: true });
}

/** After an interruption between the two moves there is only the old environment, under its other name. */
export async function finishSwap(directory: string): Promise<void> {
  const old = `${directory}.old`;
  if (await exists(directory)) await rm(old, { recursive: true, force: true });
  else await moveIfThere(old, directory);
}

/** Scripts of an environment begin with the path of its interpreter. */
async function relocate(made: string, directory: string): Promise<void> {
  const folder = join(made, "bin");
  for (const name of await readdir(folder)) {
    const file = join(folder, name);
    const status = await lstat(file);
    if (!status.isFile() || status.size > LARGEST_SCRIPT_BYTES) continue;
    const text = await readFile(file, "utf8");
    if (text.includes(made)) await writeFile(file, text.replaceAll(made, directory));
  }
}

async function moveIfThere(from: string, to: string): Promise<void> {
  if (await exists(from)) await rename(from, to);
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch {
    return false;
  }
}
