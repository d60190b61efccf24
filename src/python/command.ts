/** Runs one command of the set-up in its own process group, which ends when the caller aborts and when this process dies. */
import { spawnWorker } from "../worker/process.ts";
import { SetupError } from "./setup-error.ts";

export interface CommandOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal?: AbortSignal | undefined;
  readonly onLine?: (line: string) => void;
}

export interface CommandResult {
  /** Null when the command was ended by a signal or could not be started. */
  readonly code: number | null;
  /** The last lines of stdout and stderr, oldest first, without blank ones. */
  readonly output: readonly string[];
  readonly stdout: readonly string[];
}

/** pip's traceback for a failed download is about 60 lines long, and its reason stands near the top. */
const KEPT_LINES = 200;
/** pip removes its temporary files within this time. */
const STOP_GRACE_MS = 3_000;

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

export async function runCommand(
  file: string,
  args: readonly string[],
  options: CommandOptions,
): Promise<CommandResult> {
  const { signal, onLine } = options;
  throwIfAborted(signal);
  const output: string[] = [];
  const stdout: string[] = [];
  const child = spawnWorker({ file, args, env: definedOnly(options.env) }, (line, stream) => {
    if (line.trim() === "") return;
    keep(output, line);
    if (stream === "stdout") keep(stdout, line);
    onLine?.(line);
  });
  const stop = (): void => void child.stop(STOP_GRACE_MS);
  signal?.addEventListener("abort", stop, { once: true });
  try {
    const { code, spawnError } = await child.exited;
    throwIfAborted(signal);
    return { code, stdout, output: spawnError === null ? output : [spawnError] };
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) {
    throw new SetupError("interrupted", "The set-up was interrupted", "run it again, it starts over cleanly");
  }
}

function keep(lines: string[], line: string): void {
  lines.push(line);
  if (lines.length > KEPT_LINES) lines.shift();
}

function definedOnly(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const defined: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) if (value !== undefined) defined[name] = value;
  return defined;
}
