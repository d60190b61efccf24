/** Child processes of a benchmark: servers and the bare loop. All of them end with the run, however it ends. */
import { execFile, fork, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export const root = fileURLToPath(new URL("../..", import.meta.url));

const START_PATIENCE_MS = 120_000;
const REPORT_PATIENCE_MS = 600_000;
const children = new Set<ChildProcess>();
const folders = new Set<string>();

process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** Removed when the run ends. */
export function scratchFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "latentcast-bench-"));
  folders.add(folder);
  return folder;
}

/** Makes `dist/`, page included, as users run it. */
export function buildProject(): void {
  const build = spawnSync(process.execPath, [join(root, "scripts", "build.mjs")], { cwd: root, encoding: "utf8" });
  if (build.status !== 0) throw new Error(`the build failed: ${build.stderr.trim().split("\n").at(-1) ?? ""}`);
}

export function keep(child: ChildProcess): ChildProcess {
  children.add(child);
  child.once("exit", () => children.delete(child));
  return child;
}

/** Every arm computes with one thread: two that share two cores with the rest of the run measure the scheduler. */
export function pinned(extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  return { ...process.env, OMP_NUM_THREADS: "1", MKL_NUM_THREADS: "1", ...extra };
}

/** Runs a Python program of this folder and gives the JSON of the last line that it prints. */
export async function pythonReport(python: string, program: string, args: readonly string[]): Promise<unknown> {
  const { stdout } = await promisify(execFile)(python, [join(root, "bench", program), ...args], {
    env: pinned({ PYTHONPATH: join(root, "python") }),
    timeout: REPORT_PATIENCE_MS,
  });
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
}

export interface ServerStats {
  readonly rssBytes: number;
  readonly cpuMs: number;
  /** Jobs that the first worker holds. */
  readonly inFlight: number;
}

export interface BenchServer extends AsyncDisposable {
  readonly url: string;
  stats(): Promise<ServerStats>;
  /** With SIGKILL, in the middle of anything. */
  kill(): void;
}

/** Runs a program of this folder that sends `{url}` once it listens, and answers `"stats"`. */
export async function startProgram(program: string, env: Readonly<Record<string, string>>): Promise<BenchServer> {
  const child = keep(
    fork(join(root, "bench", program), {
      execArgv: ["--import", "tsx"],
      env: pinned(env),
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    }),
  );
  const message = <T>(): Promise<T> =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${program} did not answer`)), START_PATIENCE_MS);
      const settle = (outcome: () => void): void => {
        clearTimeout(timer);
        child.off("message", onMessage);
        child.off("exit", onExit);
        outcome();
      };
      const onMessage = (value: unknown): void => settle(() => resolve(value as T));
      const onExit = (code: number | null): void =>
        settle(() => reject(new Error(`${program} ended with ${String(code)}`)));
      child.on("message", onMessage);
      child.on("exit", onExit);
    });
  const { url } = await message<{ url: string }>();
  return {
    url,
    stats: () => {
      const answer = message<ServerStats>();
      child.send("stats");
      return answer;
    },
    kill: () => void child.kill("SIGKILL"),
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, "exit");
      child.disconnect();
      const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
      await ended;
      clearTimeout(timer);
    },
  };
}

export interface BareLoop extends AsyncDisposable {
  /** Seconds that `command` took. */
  run(command: string): Promise<number>;
}

export async function startBareLoop(python: string, env: Readonly<Record<string, string>> = {}): Promise<BareLoop> {
  const child = spawn(python, [join(root, "bench", "bare_loop.py")], {
    env: pinned({ ...env, PYTHONPATH: join(root, "python") }),
    stdio: ["pipe", "pipe", "inherit"],
  });
  keep(child);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  await lines.next();
  return {
    run: async (command) => {
      child.stdin.write(`${command}\n`);
      const { value } = (await lines.next()) as { value: string | undefined };
      if (value === undefined) throw new Error("the bare loop ended");
      return Number(value);
    },
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    },
  };
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}
