/** Python, its environment, and whether the worker's packages import there. */
import { z } from "zod";
import type { Config } from "../config.ts";
import { packageRoot } from "../package-info.ts";
import { childEnvironment } from "../worker/child-environment.ts";
import { runCommand } from "../python/command.ts";
import { SetupError } from "../python/setup-error.ts";
import { findInterpreter, versionText } from "../python/interpreter.ts";
import { checkNamedPython } from "../python/named-interpreter.ts";
import { interpreterOf, isCurrent } from "../python/environment-stamp.ts";
import { fail, ok, type Check } from "./doctor-checks.ts";

type Env = Readonly<Record<string, string | undefined>>;

const imported = z.object({ torch: z.string(), cuda: z.string().nullable(), cudaAvailable: z.boolean() });
export type ImportedPackages = z.infer<typeof imported>;

/** Imports what a worker imports; a package that is installed but broken shows only here. */
const IMPORT = `
import json
import accelerate, diffusers, numpy, PIL, safetensors, simplejpeg, transformers, zmq
import torch
print(json.dumps({
    "torch": torch.__version__, "cuda": torch.version.cuda, "cudaAvailable": torch.cuda.is_available(),
}))
`;

export async function checkInterpreter(config: Config, env: Env, signal: AbortSignal): Promise<Check> {
  if (config.python !== null) return ok("Python", `${config.python}, as named`);
  return explained("Python", async () => {
    const interpreter = await findInterpreter(env, signal);
    return `${versionText(interpreter)} at ${interpreter.executable}`;
  });
}

export async function checkEnvironment(
  config: Config,
  directory: string,
  env: Env,
  signal: AbortSignal,
): Promise<Check> {
  const name = "Environment";
  const { python } = config;
  const root = packageRoot();
  if (python !== null) {
    return explained(name, async () => {
      await checkNamedPython(python, { env, root, packages: "worker", signal });
      return "the interpreter has the packages";
    });
  }
  if (await isCurrent(root, directory, "worker", env)) return ok(name, `${directory} is current`);
  return fail(name, `${directory} is missing or out of date`, "run `latentcast setup`");
}

export async function checkImports(
  config: Config,
  directory: string,
  env: Env,
  signal: AbortSignal,
): Promise<{ readonly check: Check; readonly packages: ImportedPackages | null }> {
  const name = "Packages";
  const python = config.python ?? interpreterOf(directory);
  const { code, stdout, output } = await runCommand(python, ["-P", "-c", IMPORT], {
    env: childEnvironment(env, {}),
    signal,
  });
  if (code !== 0) {
    const hint =
      config.python === null ? "remove the environment and run `latentcast setup`" : "repair that interpreter";
    return { check: fail(name, `do not import (${output.at(-1) ?? "no output"})`, hint), packages: null };
  }
  const packages = imported.parse(JSON.parse(stdout.at(-1) ?? ""));
  return { check: ok(name, `import, torch ${packages.torch}`), packages };
}

async function explained(name: string, work: () => Promise<string>): Promise<Check> {
  try {
    return ok(name, await work());
  } catch (error) {
    if (error instanceof SetupError) return fail(name, error.problem, error.hint);
    throw error;
  }
}
