/** One child process: in a process group of its own, read line by line, ended without waiting for grandchildren. */
import { createInterface } from "node:readline";
import { execa } from "execa";

export interface Launch {
  readonly file: string;
  readonly args: readonly string[];
  /** All of its variables: nothing of this process's own is added. */
  readonly env: Readonly<Record<string, string>>;
  /** Where it runs; by default where this process does. */
  readonly cwd?: string;
}

/** How a child ended. Exactly one of `code` and `signal` is set unless the process could not be started at all. */
export interface ChildExit {
  readonly code: number | null;
  readonly signal: string | null;
  /** The last lines of stderr, oldest first. */
  readonly stderrTail: readonly string[];
  readonly ranForMs: number;
  /** Set when the process could not be started. */
  readonly spawnError: string | null;
}

export interface Child {
  readonly pid: number | undefined;
  /** Settles on the process's own `exit`; a grandchild that holds stdout cannot delay it. Never rejects. */
  readonly exited: Promise<ChildExit>;
  /** Ends the process: stdin EOF and SIGTERM, then SIGKILL to the whole group after `graceMs`. A second call kills at once. */
  stop(graceMs: number): Promise<ChildExit>;
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

export function spawnChild(launch: Launch, onLine: (line: string, stream: "stdout" | "stderr") => void): Child {
  const startedAt = performance.now();
  const child = execa(launch.file, [...launch.args], {
    env: { ...launch.env },
    extendEnv: false,
    ...(launch.cwd === undefined ? {} : { cwd: launch.cwd }),
    // A process group of its own, so that signals reach compile helpers and data loaders too.
    detached: true,
    // A worker reads EOF on stdin as the death of its parent, however that happened.
    stdin: "pipe",
    stdout: "pipe",
    stderr: "pipe",
    buffer: false,
    reject: false,
  });
  const { pid } = child;
  if (pid !== undefined) liveGroups.add(pid);
  // A child that dies closes the pipe; nothing is ever written to it.
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

  const exited = new Promise<ChildExit>((resolve) => {
    const settle = (code: number | null, signal: string | null, spawnError: string | null): void => {
      if (pid !== undefined) {
        // Helpers of a dead worker hold device memory that the next worker needs.
        signalGroup(pid, "SIGKILL");
        liveGroups.delete(pid);
      }
      resolve({ code, signal, stderrTail, ranForMs: performance.now() - startedAt, spawnError });
    };
    child.once("exit", (code, signal) => settle(code, signal, null));
    // Never rejects (`reject: false`). It waits for whoever holds stdout, so it is of use only for a child that was never there:
    // arguments that no process can have bring no event.
    void child.then(({ originalMessage = "" }) => {
      if (pid === undefined) settle(null, null, originalMessage);
    });
  });

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
