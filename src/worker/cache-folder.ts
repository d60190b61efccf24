/** The cache that workers write to. It holds nothing that cannot be measured or compiled again, so a start never fails for it. */
import { rmSync } from "node:fs";
import { lstat, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeFolder } from "../make-folder.ts";
import { isListening, LONGEST_PATH_BYTES } from "./socket-folders.ts";

const PREFIX = "latentcast-cache-";
/** As `mkdtemp` names them. */
const FOLDER = /^latentcast-cache-[a-zA-Z0-9]{6}$/;
/** A socket that something listens on for as long as the process lives that made the folder. */
const OWNER_NAME = "owner";

/**
 * The folder itself where it can be written, else a new one in the temporary folder that is removed when this process ends, or by the next
 * one where it is killed. `warn` is then called with one line.
 */
export async function usableCacheFolder(configured: string, warn: (text: string) => void): Promise<string> {
  const probe = join(configured, `.latentcast-${process.pid}`);
  try {
    await makeFolder(configured);
    // By trying: permissions say nothing about read-only mounts and full disks.
    await writeFile(probe, "");
    await rm(probe, { force: true });
    return configured;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    const temporary = await makeTemporaryCache(tmpdir());
    warn(`LATENTCAST_CACHE_DIR: ${configured} cannot be written (${code}); calibrations are repeated at each start`);
    return temporary;
  }
}

/** Removes those of dead processes first. */
export async function makeTemporaryCache(parent: string): Promise<string> {
  await removeDeadCaches(parent);
  const folder = await mkdtemp(join(parent, PREFIX));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  await claim(join(folder, OWNER_NAME));
  return folder;
}

/** Without a claim, for want of a short path, the folder is never taken for a dead one's. */
async function claim(path: string): Promise<void> {
  if (Buffer.byteLength(path) > LONGEST_PATH_BYTES) return;
  const owner = createServer((socket) => socket.destroy()).unref();
  await new Promise<void>((resolve) => {
    owner.once("error", () => resolve());
    owner.listen(path, resolve);
  });
}

/** Only this user's folders in which the owner's socket is there and nobody listens on it. */
async function removeDeadCaches(parent: string): Promise<void> {
  const names = await readdir(parent).catch(() => []);
  await Promise.all(
    names.filter((name) => FOLDER.test(name)).map((name) => removeIfDead(join(parent, name)).catch(() => undefined)),
  );
}

async function removeIfDead(folder: string): Promise<void> {
  const found = await lstat(folder);
  if (!found.isDirectory() || found.uid !== process.getuid?.()) return;
  const owner = join(folder, OWNER_NAME);
  if (!(await lstat(owner)).isSocket() || (await isListening(owner))) return;
  await rm(folder, { recursive: true, force: true });
}
