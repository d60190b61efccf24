/** Servers with the simulated device or the tiny model, and the trace of what their device did. */
import { existsSync, readFileSync, truncateSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { Settings } from "./figures.ts";
import { scratchFolder, startProgram, type BenchServer } from "./processes.ts";

/** One step on the device, in seconds of the monotonic clock that {@link monotonicSeconds} reads too. */
export interface TracedStep {
  readonly began: number;
  readonly ended: number;
}

export interface StubServer extends BenchServer {
  /** Steps since the last call. */
  takeTrace(): TracedStep[];
}

export interface StubOptions {
  readonly stepMs?: number;
  readonly policy?: "fifo";
  readonly env?: Readonly<Record<string, string>>;
}

/** A server whose device sleeps; see stub_model.py. */
export async function startStubServer(
  { python }: Settings,
  { stepMs = 30, policy, env = {} }: StubOptions = {},
): Promise<StubServer> {
  const folder = scratchFolder();
  const trace = join(folder, "trace");
  const server = await startProgram("serve.ts", {
    ...serverEnvironment(python, folder),
    LATENTCAST_BENCH_STUB: "1",
    LATENTCAST_WORKER_BENCH_TRACE: trace,
    LATENTCAST_WORKER_BENCH_STEP_MS: String(stepMs),
    ...(policy === undefined ? {} : { LATENTCAST_WORKER_BENCH_POLICY: policy }),
    ...env,
  });
  return {
    ...server,
    takeTrace: () => {
      if (!existsSync(trace)) return [];
      const bytes = readFileSync(trace);
      truncateSync(trace);
      const steps: TracedStep[] = [];
      for (let at = 0; at + 16 <= bytes.length; at += 16) {
        steps.push({ began: bytes.readDoubleLE(at), ended: bytes.readDoubleLE(at + 8) });
      }
      return steps;
    },
  };
}

export interface ModelServerOptions {
  readonly everyCore?: boolean;
  readonly env?: Readonly<Record<string, string>>;
}

/** A server with the real worker. `model` is `noise`, `demo` or a folder; it computes with one thread unless told. */
export function startModelServer(
  { python }: Settings,
  model: string,
  { everyCore = false, env = {} }: ModelServerOptions = {},
): Promise<BenchServer> {
  return startProgram("serve.ts", {
    ...serverEnvironment(python, scratchFolder()),
    LATENTCAST_MODEL: model,
    ...(everyCore ? { LATENTCAST_WORKER_THREADS: String(availableParallelism()) } : {}),
    ...env,
  });
}

/** The clock of Python's `time.monotonic()`. */
export function monotonicSeconds(): number {
  return Number(process.hrtime.bigint()) / 1e9;
}

/** What every server of a benchmark runs with. */
export function serverEnvironment(python: string, folder: string): Record<string, string> {
  return {
    LATENTCAST_BENCH_PYTHON: python,
    LATENTCAST_PORT: "0",
    LATENTCAST_DEVICES: "cpu",
    LATENTCAST_MODEL: "noise",
    LATENTCAST_DATA_DIR: join(folder, "data"),
    LATENTCAST_CACHE_DIR: join(folder, "cache"),
    LATENTCAST_LOG_LEVEL: "silent",
  };
}
