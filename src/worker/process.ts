/** One worker process: spawned in its own group, read line by line, ended by a ladder that never waits for grandchildren. */
import { createInterface } from "node:readline";
import { execa } from "execa";

export interface Launch {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** How a worker ended. Exactly one of `code` and `signal` is set unless the process could not be started at all. */
export interface WorkerExit {
  readonly code: number | null;
  readonly signal: string | null;
  /** The last lines of stderr, oldest first. */
  readonly stderrTail: readonly string[];
  readonly ranForMs: number;
  /** Set when the process could not be started. */
  readonly spawnError: string | null;
}

export interface WorkerProcess {
  readonly pid: number | undefined;
  /** Settles on the process's own `exit`; a grandchild that holds stdout cannot delay it. Never rejects. */
  readonly exited: Promise<WorkerExit>;
  /** Ends the process: stdin EOF and SIGTERM, then SIGKILL to the whole group after `graceMs`. A second call kills at once. */
  stop(graceMs: number): Promise<WorkerExit>;
  kill(): void;
}

const STDERR_TAIL_LINES = 20;
/** Tracebacks and progress bars stay readable; a runaway line does not fill the memory. */
const MAX_LINE_LENGTH = 4_000;

/** Groups to kill when this process ends without having stopped them; execa's own cleanup is off for detached children. */
const liveGroups = new Set<number>();
process.on("exit", () => {
  for (const pid of liveGroups) signalGroup(pid, "SIGKILL");
});

export function spawnWorker(
  launch: Launch,
  onLine: (line: string, stream: "stdout" | "stderr") => void,
): WorkerProcess {
  const startedAt = performance.now();
  const child = execa(launch.file, [...launch.args], {
    env: { ...launch.env },
    extendEnv: false,
    // Own process group, so that the ladder reaches compile helpers and data loaders too.
    detached: true,
    // EOF on stdin tells a worker that its parent has died, however it died.
    stdin: "pipe",
    stdout: "pipe",
    stderr: "pipe",
    buffer: false,
    reject: false,
  });
  const { pid } = child;
  if (pid !== undefined) liveGroups.add(pid);
  // A worker that dies closes the pipe; what is lost is only the EOF it no longer needs.
  child.stdin.on("error", () => undefined);

  const stderrTail: string[] = [];
  for (const stream of ["stdout", "stderr"] as const) {
    createInterface({ input: child[stream], crlfDelay: Infinity }).on("line", (text) => {
      const line = text.length > MAX_LINE_LENGTH ? `${text.slice(0, MAX_LINE_LENGTH)} [cut]` : text;
      if (stream === "stderr") {
        stderrTail.push(line);
        if (stderrTail.length > STDERR_TAIL_LINES) stderrTail.shift();
      }
      onLine(line, stream);
    });
  }

  const exited = new Promise<WorkerExit>((resolve) => {
    const settle = (code: number | null, signal: string | null, spawnError: string | null): void => {
      if (pid !== undefined) {
        // Helpers of a dead worker hold device memory; the next epoch needs it.
        signalGroup(pid, "SIGKILL");
        liveGroups.delete(pid);
      }
      resolve({ code, signal, stderrTail, ranForMs: performance.now() - startedAt, spawnError });
    };
    child.once("exit", (code, signal) => settle(code, signal, null));
    child.once("error", (error) => {
      if (pid === undefined) settle(null, null, error.message);
    });
  });
  // Never rejects (`reject: false`), and waits for whoever holds stdout; only `exited` is of use here.
  void child.catch(() => undefined);

  let stopping = false;
  const kill = (): void => {
    if (pid !== undefined && liveGroups.has(pid)) signalGroup(pid, "SIGKILL");
  };
  return {
    pid,
    exited,
    kill,
    stop: async (graceMs) => {
      if (stopping) kill();
      stopping = true;
      child.stdin.end();
      if (pid !== undefined && liveGroups.has(pid)) signalGroup(pid, "SIGTERM");
      const timer = setTimeout(kill, graceMs);
      try {
        return await exited;
      } finally {
        clearTimeout(timer);
        child.stdout.destroy();
        child.stderr.destroy();
      }
    },
  };
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // ESRCH: the group is gone, which is what was wanted.
  }
}
