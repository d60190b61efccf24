/** Runs one command to its end and keeps the last lines of its output. */
import { spawnChild } from "./child.ts";

export interface RunOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string | undefined;
  /** Ends the command and everything it started. */
  readonly signal?: AbortSignal | undefined;
  readonly onLine?: ((line: string) => void) | undefined;
}

export interface RunResult {
  /** Null when the command was ended by a signal or could not be started. */
  readonly code: number | null;
  /** The last lines of stdout and stderr, oldest first, without blank ones; why it could not be started, if so. */
  readonly output: readonly string[];
  readonly stdout: readonly string[];
}

/** pip's traceback for a failed download is about 60 lines long, and its reason stands near the top. */
const KEPT_LINES = 200;
/** pip removes its temporary files within this time. */
const STOP_GRACE_MS = 3_000;

/** Never rejects. */
export async function run(file: string, args: readonly string[], options: RunOptions): Promise<RunResult> {
  const { env, cwd, signal, onLine } = options;
  if (signal?.aborted === true) return { code: null, output: [], stdout: [] };
  const output: string[] = [];
  const stdout: string[] = [];
  const launch = { file, args, env: definedOnly(env), ...(cwd === undefined ? {} : { cwd }) };
  const child = spawnChild(launch, (line, stream) => {
    if (line.trim() === "") return;
    keep(output, line);
    if (stream === "stdout") keep(stdout, line);
    onLine?.(line);
  });
  const stop = (): void => void child.stop(STOP_GRACE_MS);
  signal?.addEventListener("abort", stop, { once: true });
  try {
    const { code, spawnError } = await child.exited;
    return { code, stdout, output: spawnError === null ? output : [spawnError] };
  } finally {
    signal?.removeEventListener("abort", stop);
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
