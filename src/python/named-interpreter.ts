/** An interpreter that the user named: taken as it is, after a look at whether workers can run in it. */
import { readFile } from "node:fs/promises";
import { runCommand } from "./command.ts";
import { SetupError } from "./setup-error.ts";
import { isSupported, probeInterpreter, unsupportedPython } from "./interpreter.ts";
import { pipEnvironment } from "./pip.ts";
import { requirementsFile, type PackageSet } from "./environment-stamp.ts";

/** Asks for installed distributions by the names in the requirements, without importing: 100 ms instead of seconds. */
const MISSING = `
import json, sys
from importlib.metadata import PackageNotFoundError, version
def is_missing(name):
    try:
        version(name)
    except PackageNotFoundError:
        return True
    return False
print(json.dumps([name for name in sys.argv[1:] if is_missing(name)]))
`;

export interface NamedPythonOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly root: string;
  readonly packages: PackageSet;
  readonly signal?: AbortSignal | undefined;
}

/** The interpreter's path. Rejects with `python_missing`, `python_unsupported` or `packages_missing`. */
export async function checkNamedPython(python: string, options: NamedPythonOptions): Promise<string> {
  const { env, root, packages, signal } = options;
  const interpreter = await probeInterpreter(python, env, signal);
  if (interpreter === null) {
    throw new SetupError(
      "python_missing",
      `${python} is not a working Python 3`,
      "correct LATENTCAST_PYTHON or --python, or unset it to use the managed environment",
    );
  }
  if (!isSupported(interpreter)) throw unsupportedPython(interpreter);
  const names = await requiredNames(root, packages);
  const { code, stdout } = await runCommand(python, ["-P", "-c", MISSING, ...names], {
    env: pipEnvironment(env),
    signal,
  });
  const missing = code === 0 ? missingNames(stdout.at(-1)) : names;
  if (missing.length === 0) return python;
  throw new SetupError(
    "packages_missing",
    `${python} lacks ${missing.join(", ")}`,
    `run \`${python} -m pip install -r ${requirementsFile(root, packages)}\`, or unset it to use the managed environment`,
  );
}

/** Distribution names in the pinned requirements. */
export async function requiredNames(root: string, packages: PackageSet): Promise<string[]> {
  const sets: PackageSet[] = packages === "dev" ? ["worker", "dev"] : ["worker"];
  const texts = await Promise.all(sets.map((set) => readFile(requirementsFile(root, set), "utf8")));
  return texts.flatMap((text) => [...text.matchAll(/^([A-Za-z0-9][\w.-]*)/gm)].map(([name]) => name));
}

function missingNames(line: string | undefined): string[] {
  const names: unknown = JSON.parse(line ?? "[]");
  return Array.isArray(names) ? names.map(String) : [];
}
