/** Packages for tests that must not be in the environment of the worker: clients of another version, clients with many dependencies. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { testPython } from "./server.ts";

const CACHE = fileURLToPath(new URL("../../node_modules/.cache/latentcast-test", import.meta.url));
const FLAGS = ["--quiet", "--no-deps", "--no-input", "--disable-pip-version-check"];

/**
 * A folder for PYTHONPATH, whose packages are found before those of the environment. Installed once for all files and runs.
 * @param name Of the requirements in `test/fixtures`.
 */
export async function pythonPackages(name: string): Promise<string> {
  const file = fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
  const hash = createHash("sha256")
    .update(testPython())
    .update(await readFile(file));
  const folder = join(CACHE, hash.digest("hex").slice(0, 16));
  if (existsSync(folder)) return folder;
  await mkdir(CACHE, { recursive: true });
  const unfinished = await mkdtemp(join(CACHE, "unfinished-"));
  try {
    await promisify(execFile)(testPython(), ["-m", "pip", "install", ...FLAGS, "--target", unfinished, "-r", file]);
    await rename(unfinished, folder).catch((error: unknown) => {
      // Another file was as fast.
      if (!existsSync(folder)) throw error;
    });
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
  return folder;
}
