/** Tells an environment that is finished and current from one that is neither, in milliseconds. */
import { createHash } from "node:crypto";
import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { Environment } from "../config/environment.ts";
import { childEnvironment } from "../worker/child-environment.ts";
import { runCommand } from "./command.ts";

const stamp = z.object({ requirements: z.string(), python: z.string() });
export type Stamp = z.infer<typeof stamp>;

/** The extra packages of the project's own checks and tests have a stamp of their own, on top of the first. */
export type PackageSet = "worker" | "dev";

export function requirementsFile(root: string, set: PackageSet): string {
  return join(root, "python", set === "worker" ? "requirements.txt" : "requirements-dev.txt");
}

export function interpreterOf(directory: string): string {
  return join(directory, "bin", "python");
}

/** What the stamp of an environment for these requirements has to say. */
export async function hashRequirements(root: string, set: PackageSet): Promise<string> {
  const hash = createHash("sha256").update(await readFile(requirementsFile(root, "worker")));
  if (set === "dev") hash.update(await readFile(requirementsFile(root, "dev")));
  return hash.digest("hex");
}

/** Written last and in one move: an environment without it was interrupted. */
export async function writeStamp(directory: string, set: PackageSet, content: Stamp): Promise<void> {
  const path = stampFile(directory, set);
  await writeFile(`${path}.part`, `${JSON.stringify(content)}\n`);
  await rename(`${path}.part`, path);
}

/**
 * Current means: finished for these requirements, and its interpreter still is the version it was made with (a system upgrade
 * replaces the one behind the link, and then the installed packages are not found).
 */
export async function isCurrent(root: string, directory: string, set: PackageSet, env: Environment): Promise<boolean> {
  const found = await readStamp(directory, set);
  if (found === null || found.requirements !== (await hashRequirements(root, set))) return false;
  return found.python === (await installedVersion(directory, env));
}

/**
 * Major and minor version of the environment's interpreter; null when it does not run. Asked with the variables that workers get: some
 * interpreters start only with their LD_LIBRARY_PATH. 15 ms.
 */
export async function installedVersion(directory: string, env: Environment): Promise<string | null> {
  const script = "import sys; print('%d.%d' % sys.version_info[:2])";
  const { code, stdout } = await runCommand(interpreterOf(directory), ["-I", "-S", "-c", script], {
    env: childEnvironment(env, {}),
  });
  return code === 0 ? (stdout[0] ?? null) : null;
}

function stampFile(directory: string, set: PackageSet): string {
  return join(directory, `latentcast-${set}.json`);
}

async function readStamp(directory: string, set: PackageSet): Promise<Stamp | null> {
  try {
    return stamp.parse(JSON.parse(await readFile(stampFile(directory, set), "utf8")));
  } catch {
    return null;
  }
}
