/** The command line as people run it: a process of its own, its output, its exit code. Each is ended by the test that started it. */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, inject } from "vitest";
import { eventually as within } from "./eventually.ts";
import { writeProgram } from "./python-project.ts";
import { fixtureWorker, testPython } from "./server.ts";

export const COMMAND = [process.execPath, join(inject("builtPrograms"), "main.js")] as const;

/** A whole process starts, loads and answers within this time even where every core is wanted by ten others. */
const PATIENCE_MS = 60_000;

export function eventually<Value>(check: () => Value | Promise<Value>): Promise<Value> {
  return within(check, PATIENCE_MS);
}

export interface Run {
  readonly child: ChildProcess;
  /** Everything written so far. */
  output(): { readonly out: string; readonly err: string };
  readonly exit: Promise<number | null>;
}

export interface Serving extends Run {
  readonly url: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Runs the command, such as `nohup`. */
  readonly wrapper?: readonly string[];
  readonly cwd?: string;
}

export interface CommandLineHarness {
  /** Made for each test, with its cache, its data and a Python whose `-m latentcast_worker` is the fixture worker. */
  readonly directory: string;
  /** Any program with the variables of the command line. */
  spawn(command: readonly string[], options?: RunOptions): Run;
  start(args: readonly string[], options?: RunOptions): Run;
  finish(args: readonly string[], options?: RunOptions): Promise<{ code: number | null; out: string; err: string }>;
  /** Starts a server on a free port; resolves with its address once it listens. */
  serve(options?: RunOptions): Promise<Serving>;
}

/** Registers the hooks that make and remove what the tests of a file need. */
export function useCommandLine(): CommandLineHarness {
  let directory = "";
  let python = "";
  const started: Run[] = [];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "latentcast-cli-"));
    const [worker] = fixtureWorker("fixture_worker");
    python = await writeProgram(
      join(directory, "python"),
      `if [ "$1 $2" = "-P -m" ]; then shift 3; exec ${testPython()} ${worker} "$@"; fi`,
      `exec ${testPython()} "$@"`,
    );
  });
  afterEach(async () => {
    // Whatever a failed test has left running; the workers end with their server.
    for (const { child, exit } of started.splice(0)) {
      child.kill("SIGKILL");
      await exit;
    }
    await rm(directory, { recursive: true, force: true });
  });

  const spawnRun = (command: readonly string[], { env = {}, cwd }: RunOptions = {}): Run => {
    const [file = "", ...args] = command;
    const child = spawn(file, args, {
      env: {
        ...process.env,
        LATENTCAST_PYTHON: python,
        LATENTCAST_CACHE_DIR: join(directory, "cache"),
        LATENTCAST_DATA_DIR: join(directory, "data"),
        LATENTCAST_DEVICES: "cpu",
        // Requests here must not be refused because the machine is crowded.
        LATENTCAST_MAX_EVENT_LOOP_DELAY_SECONDS: "60",
        ...env,
      },
      ...(cwd === undefined ? {} : { cwd }),
      stdio: ["pipe", "pipe", "pipe"],
    });
    let out = "";
    let err = "";
    child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
    const exit = new Promise<number | null>((resolve) => child.once("close", resolve));
    const run: Run = { child, exit, output: () => ({ out, err }) };
    started.push(run);
    return run;
  };
  const start = (args: readonly string[], options: RunOptions = {}): Run =>
    spawnRun([...(options.wrapper ?? []), ...COMMAND, ...args], options);
  return {
    get directory() {
      return directory;
    },
    spawn: spawnRun,
    start,
    finish: async (args, options) => {
      const run = start(args, options);
      const code = await run.exit;
      return { code, ...run.output() };
    },
    serve: async (options) => {
      const run = start(["serve", "--port", "0"], options);
      return { ...run, url: await addressOf(run) };
    },
  };
}

export function addressOf(run: Run): Promise<string> {
  return eventually(() => {
    const { out, err } = run.output();
    const found = /listens on (http:\/\/[\d.:]+)/.exec(out + err)?.[1];
    if (found === undefined) throw new Error(JSON.stringify(run.output()));
    return found;
  });
}
