/** Commands of the set-up: Python modules that end with this process, and an interruption that is one typed error. */
import { run, type RunOptions, type RunResult } from "../processes/run.ts";
import { SetupError } from "./setup-error.ts";

export type CommandOptions = RunOptions;
export type ProgramResult = RunResult;

/**
 * Runs a Python module so that it dies with this process, however that one dies: a pip that goes on alone would write into the
 * environment that the next attempt is making. Its standard input ends with this process, and then the whole group is killed.
 */
const GUARDED_MODULE = `
import os, runpy, signal, sys, threading
def leave_with_parent():
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=leave_with_parent, daemon=True).start()
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
`;

/** Isolated (`-I`): neither PYTHONPATH nor the folder it is run in may shadow a module. */
export function pythonModule(module: string, ...args: readonly string[]): string[] {
  return ["-I", "-u", "-c", GUARDED_MODULE, module, ...args];
}

/** Rejects only when it is interrupted. */
export async function runCommand(
  file: string,
  args: readonly string[],
  options: CommandOptions,
): Promise<ProgramResult> {
  const { signal } = options;
  throwIfAborted(signal);
  const result = await run(file, args, options);
  throwIfAborted(signal);
  return result;
}

export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) {
    throw new SetupError("interrupted", "The set-up was interrupted", "run it again; it starts over cleanly");
  }
}
