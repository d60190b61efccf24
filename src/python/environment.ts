/** The Python that workers run in: an environment of our own, made once and remade when the pinned requirements change. */
import { mkdir, readdir, rm, statfs, writeFile } from "node:fs/promises";
import { basename, dirname, join, sep } from "node:path";
import type { Config } from "../config.ts";
import type { Environment } from "../config/environment.ts";
import { makeFolder } from "../make-folder.ts";
import { packageRoot } from "../package-info.ts";
import { pythonModule, runCommand, type ProgramResult } from "./command.ts";
import { explainFailure, explainSystemError, SetupError } from "./setup-error.ts";
import { checkNamedPython } from "./named-interpreter.ts";
import { findInterpreter, versionText } from "./interpreter.ts";
import { finishSwap, swap } from "./environment-swap.ts";
import { withLock } from "./environment-lock.ts";
import { pipEnvironment, pipInstall } from "./pip.ts";
import {
  hashRequirements,
  installedVersion,
  interpreterOf,
  isCurrent,
  requirementsFile,
  writeStamp,
  type PackageSet,
} from "./environment-stamp.ts";

export interface SetupProgress {
  /** What is going on, such as `downloading torch-2.13.0 (780.3 MB)`. */
  readonly text: string;
  /** Of what `text` names; null if unknown. */
  readonly fraction: number | null;
}

export interface EnvironmentOptions {
  readonly env: Environment;
  /** The folder with `python/requirements.txt`; defaults to this package. */
  readonly root?: string;
  /** `dev` adds what the project's own checks and tests need. */
  readonly packages?: PackageSet;
  /** Ends pip and everything it started; the next attempt starts over. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: SetupProgress) => void;
}

/** Only what carries this mark is ever deleted. */
const MARK = "latentcast-managed";

/**
 * Path of an interpreter that can run workers: the one that `config.python` names, after a look at its packages, or the managed one,
 * made first when it is missing or out of date. Rejects with a {@link SetupError} whose message says what to do.
 */
export async function managedPython(
  config: Pick<Config, "python" | "cacheDir">,
  options: EnvironmentOptions,
): Promise<string> {
  const { env, root = packageRoot(), packages = "worker", signal } = options;
  if (config.python !== null) return checkNamedPython(config.python, { env, root, packages, signal });
  const directory = environmentDirectory(root, config.cacheDir);
  if (await isCurrent(root, directory, packages, env)) return interpreterOf(directory);
  try {
    await makeFolder(dirname(directory));
    await withLock(
      `${directory}.lock`,
      {
        signal,
        onWait: (pid) =>
          options.onProgress?.({
            text: `waiting for another set-up${pid === null ? "" : ` (process ${pid})`}`,
            fraction: null,
          }),
      },
      () => makeCurrent({ ...options, root, packages, directory }),
    );
  } catch (error) {
    throw explainSystemError(error, "Making the Python environment", directory);
  }
  return interpreterOf(directory);
}

/** `.venv` of a checkout; an installed package keeps it in the user's cache, where an update of the package leaves it alone. */
export function environmentDirectory(root: string, cacheDir: string): string {
  return root.split(sep).includes("node_modules") ? join(cacheDir, "venv") : join(root, ".venv");
}

interface Work extends EnvironmentOptions {
  readonly root: string;
  readonly packages: PackageSet;
  readonly directory: string;
}

async function makeCurrent(work: Work): Promise<void> {
  const { env, root, directory, packages } = work;
  await refuseForeign(directory);
  await finishSwap(directory);
  if (!(await isCurrent(root, directory, "worker", env))) {
    // Beside the one in use, which stays until its replacement is there.
    const made = `${directory}.new`;
    try {
      await rm(made, { recursive: true, force: true });
      await makeEnvironment(work, made);
      await install(work, made, "worker");
      await swap(made, directory);
    } finally {
      await rm(made, { recursive: true, force: true });
    }
  }
  if (packages === "dev" && !(await isCurrent(root, directory, "dev", env))) await install(work, directory, "dev");
}

async function makeEnvironment({ env, directory, signal, onProgress }: Work, made: string): Promise<void> {
  const interpreter = await findInterpreter(env, signal);
  onProgress?.({ text: `making ${basename(directory)} with Python ${versionText(interpreter)}`, fraction: null });
  await mkdir(made);
  await writeFile(join(made, MARK), "Made by Latentcast, which may delete and remake it.\n");
  const command = { env: pipEnvironment(env), signal };
  const result = await runCommand(interpreter.executable, pythonModule("venv", made), command);
  await mustSucceed("Making the Python environment", result, directory);
}

/** @param made The environment to install into: the one in use, or the one that will replace it. */
async function install(work: Work, made: string, set: PackageSet): Promise<void> {
  const { env, root, directory, signal, onProgress } = work;
  // Read before pip does: requirements that change meanwhile leave a stamp that is out of date, never one that lies.
  const requirements = await hashRequirements(root, set);
  const result = await pipInstall(interpreterOf(made), requirementsFile(root, set), {
    env,
    signal,
    onProgress: (progress) => onProgress?.(progress),
  });
  await mustSucceed("Installing the Python packages", result, directory);
  const python = await installedVersion(made, env);
  if (python === null) throw new SetupError("install_failed", `${directory} was made but does not run`, "run it again");
  await writeStamp(made, set, { requirements, python });
}

/** Below this a disk counts as full: the step that failed has given back what it took. */
const NEARLY_FULL_BYTES = 64 * 2 ** 20;

/** Writes the output of a failed command to a log file and throws an error that explains it. */
async function mustSucceed(doing: string, { code, output }: ProgramResult, directory: string): Promise<void> {
  const log = `${directory}.log`;
  if (code === 0) return rm(log, { force: true });
  // A full disk has no room for the log either; the error is the more important one.
  await writeFile(log, `${output.join("\n")}\n`).catch(() => undefined);
  const { bavail, bsize } = await statfs(dirname(directory));
  const isFull = bavail * bsize < NEARLY_FULL_BYTES;
  // `python -m venv` swallows the reason why its pip could not be unpacked.
  throw explainFailure(doing, isFull ? [...output, "No space left on device"] : output, directory);
}

/** Only an environment of our own is ever replaced. */
async function refuseForeign(directory: string): Promise<void> {
  const content = await listFolder(directory);
  if (content === null || content.length === 0 || content.includes(MARK)) return;
  throw new SetupError(
    "foreign_environment",
    `${directory} was not made by Latentcast`,
    `remove it, or use it with LATENTCAST_PYTHON=${interpreterOf(directory)}`,
  );
}

/** Null when there is no such folder. */
async function listFolder(directory: string): Promise<string[] | null> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  }
}
