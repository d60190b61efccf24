/** Finds a Python that an environment can be made from. */
import { access, constants } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { z } from "zod";
import { runCommand } from "./command.ts";
import { SetupError } from "./setup-error.ts";

/** What the pinned packages have builds for; python/pyproject.toml says the same. */
export const OLDEST_PYTHON: readonly [number, number] = [3, 11];
export const NEWEST_PYTHON: readonly [number, number] = [3, 13];
const SUPPORTED = "Python 3.11, 3.12 or 3.13";

const CANDIDATES = ["python3.13", "python3.12", "python3.11", "python3", "python"];

/** Runs on any Python 3, so that a version that is too old can be named. */
const PROBE = `
import json, sys
from importlib.util import find_spec
print(json.dumps({
    "version": list(sys.version_info[:3]),
    "executable": sys.executable,
    "is64Bit": sys.maxsize > 2**32,
    "hasVenv": all(find_spec(name) is not None for name in ("venv", "ensurepip")),
}))
`;

const probeAnswer = z.object({
  version: z.tuple([z.int(), z.int(), z.int()]),
  executable: z.string().min(1),
  is64Bit: z.boolean(),
  hasVenv: z.boolean(),
});

export type Interpreter = z.infer<typeof probeAnswer>;

type Env = Readonly<Record<string, string | undefined>>;

/** Null when the file is not a Python 3 that works, such as a shim without a version behind it. */
export async function probeInterpreter(file: string, env: Env, signal?: AbortSignal): Promise<Interpreter | null> {
  const { code, stdout } = await runCommand(file, ["-I", "-c", PROBE], { env, signal });
  if (code !== 0) return null;
  try {
    return probeAnswer.parse(JSON.parse(stdout.at(-1) ?? ""));
  } catch {
    return null;
  }
}

export function isSupported({ version: [major, minor], is64Bit }: Interpreter): boolean {
  const inRange = major === OLDEST_PYTHON[0] && minor >= OLDEST_PYTHON[1] && minor <= NEWEST_PYTHON[1];
  return inRange && is64Bit;
}

export function versionText({ version }: Pick<Interpreter, "version">): string {
  return version.join(".");
}

/**
 * Takes the first interpreter on PATH that is supported and can make environments. Rejects with `python_missing`,
 * `python_unsupported` or `venv_missing`.
 */
export async function findInterpreter(env: Env, signal?: AbortSignal): Promise<Interpreter> {
  const unsupported: Interpreter[] = [];
  let withoutVenv: Interpreter | undefined;
  for (const file of await candidatesOnPath(env)) {
    const interpreter = await probeInterpreter(file, env, signal);
    if (interpreter === null) continue;
    if (!isSupported(interpreter)) unsupported.push(interpreter);
    else if (!interpreter.hasVenv) withoutVenv ??= interpreter;
    else return interpreter;
  }
  if (withoutVenv !== undefined) throw venvMissing(withoutVenv);
  const [first] = unsupported;
  if (first !== undefined) throw unsupportedPython(first);
  throw new SetupError(
    "python_missing",
    "Python was not found",
    `install ${SUPPORTED}, or name one with LATENTCAST_PYTHON`,
  );
}

export function unsupportedPython(interpreter: Interpreter): SetupError {
  const bits = interpreter.is64Bit ? "" : " (32 bit)";
  return new SetupError(
    "python_unsupported",
    `Python ${versionText(interpreter)}${bits} at ${interpreter.executable} cannot be used`,
    `install a 64-bit ${SUPPORTED}, or name one with LATENTCAST_PYTHON`,
  );
}

function venvMissing({ version, executable }: Interpreter): SetupError {
  return new SetupError(
    "venv_missing",
    `${executable} lacks the venv and ensurepip modules`,
    `on Debian and Ubuntu run \`apt-get install python${version[0]}.${version[1]}-venv\`, or install another Python`,
  );
}

/** Newest version first, and of one name every place on PATH: the first may be a shim that fails. */
async function candidatesOnPath(env: Env): Promise<string[]> {
  const directories = (env["PATH"] ?? "").split(delimiter).filter((directory) => directory !== "");
  const files: string[] = [];
  for (const name of CANDIDATES) {
    for (const directory of directories) {
      const file = join(directory, name);
      if (await isExecutable(file)) files.push(file);
    }
  }
  return files;
}

export async function isExecutable(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
