/** Making a folder with its parents, also where the kernel makes none. */
import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";

/**
 * As `mkdir -p`: rejects with the system's error where that cannot be. Node's own `recursive` makes the parent again and again while the
 * kernel says ENOENT, and below `/proc` it says so for parents that are there.
 */
export async function makeFolder(path: string, mode = 0o777): Promise<void> {
  try {
    await mkdir(path, mode);
  } catch (error) {
    if (await isFolder(path)) return;
    if (codeOf(error) !== "ENOENT" || dirname(path) === path || (await isFolder(dirname(path)))) throw error;
    await makeFolder(dirname(path), mode);
    await mkdir(path, mode).catch(async (again: unknown) => {
      // Made by somebody else in the meantime.
      if (!(await isFolder(path))) throw again;
    });
  }
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
