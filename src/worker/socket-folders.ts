/** Folders for sockets in the temporary directory: one for each server, and those that killed servers left behind. */
import { lstat, mkdtemp, readdir, rmdir, unlink } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LaunchError } from "./slot-failure.ts";

export const SOCKET_NAME = "workers";

const PREFIX = "latentcast-";
/** As `mkdtemp` names them. */
const FOLDER = /^latentcast-[a-zA-Z0-9]{6}$/;
/** A server that starts just now has a folder before anything listens in it. */
const YOUNG_MS = 60_000;

/** The longest path of a socket: `sun_path` has 108 bytes on Linux and 104 on macOS, with a NUL at the end. */
export const LONGEST_PATH_BYTES = process.platform === "linux" ? 107 : 103;

/**
 * A new folder in the first of these that is there, can be written and has a path short enough for a socket in it. Rejects with one
 * line that names TMPDIR.
 */
export async function makeSocketFolderIn(parents: readonly string[]): Promise<string> {
  const reasons: string[] = [];
  for (const parent of new Set(parents)) {
    if (Buffer.byteLength(join(parent, `${PREFIX}XXXXXX`, SOCKET_NAME)) > LONGEST_PATH_BYTES) {
      reasons.push(`${parent} has too long a path`);
      continue;
    }
    try {
      return await makeSocketFolder(parent);
    } catch (error) {
      reasons.push(
        `${parent} cannot be used (${error instanceof Error && "code" in error ? String(error.code) : "error"})`,
      );
    }
  }
  throw new LaunchError(`TMPDIR: there is no folder for the workers' socket: ${reasons.join(", ")}`);
}

/** TMPDIR, and where it does not serve, what most systems have. */
export function temporaryFolders(): string[] {
  const user = process.getuid?.();
  return [tmpdir(), "/tmp", ...(user === undefined ? [] : [`/run/user/${user}`])];
}

/** A new folder that only this user can enter. */
export async function makeSocketFolder(parent: string): Promise<string> {
  await removeDeadFolders(parent);
  return mkdtemp(join(parent, PREFIX));
}

/**
 * Removes this user's folders in which nothing listens any more, never anything else. Whether something listens is asked of the socket:
 * a process number may mean another process in another container.
 */
async function removeDeadFolders(parent: string): Promise<void> {
  const names = await readdir(parent).catch(() => []);
  await Promise.all(
    names.filter((name) => FOLDER.test(name)).map((name) => removeIfDead(join(parent, name)).catch(() => undefined)),
  );
}

async function removeIfDead(folder: string): Promise<void> {
  const found = await lstat(folder);
  const isOurs = found.isDirectory() && found.uid === process.getuid?.();
  if (!isOurs || Date.now() - found.mtimeMs < YOUNG_MS) return;
  const names = await readdir(folder);
  if (names.some((name) => name !== SOCKET_NAME)) return;
  if (names.length > 0) {
    const socket = join(folder, SOCKET_NAME);
    if (!(await lstat(socket)).isSocket() || (await isListening(socket))) return;
    await unlink(socket);
  }
  await rmdir(folder);
}

/** When in doubt it is. */
export function isListening(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code !== "ECONNREFUSED"));
  });
}
