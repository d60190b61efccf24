import pino from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LaunchError } from "../../../src/worker/slot-failure.ts";
import type { Supervisor, WorkerListener } from "../../../src/worker/supervisor.ts";
import type { LongestPiece } from "../../../src/worker/watchdog.ts";
import { WorkerPool } from "../../../src/worker/pool.ts";
import { MemoryWorkers } from "../../support/memory-workers.ts";

const STALL_MS = 1_000;
const START_MS = 60_000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

async function supervise(launch?: () => Promise<never>) {
  const workers = new MemoryWorkers();
  const holds: { piece: LongestPiece | undefined } = { piece: undefined };
  const lost: string[] = [];
  const listener: WorkerListener = {
    changed: () => undefined,
    report: () => undefined,
    lost: (_slot, _incarnation, reason) => lost.push(reason),
    longestPiece: () => holds.piece,
  };
  const options = workers.options(1);
  const pool = await WorkerPool.open({
    ...options,
    ...(launch === undefined ? {} : { launch }),
    settings: { startTimeoutMs: START_MS, stallTimeoutMs: STALL_MS, stopGraceMs: 100 },
    log: pino({ level: "silent" }),
    counters: { stale: 0, garbage: 0 },
  });
  pool.start(listener);
  await vi.advanceTimersByTimeAsync(0);
  const [supervisor] = pool.slots;
  if (supervisor === undefined) throw new Error("no slot");
  return { supervisor, workers, holds, lost };
}

function failureOf({ state }: Supervisor): string | undefined {
  return state.lastFailure?.code;
}

describe("a worker", () => {
  it("that cannot be launched for good is not tried again at once", async () => {
    const { supervisor } = await supervise(() => Promise.reject(new LaunchError("there is no Python")));
    expect(supervisor.state).toMatchObject({
      kind: "failed",
      lastFailure: { code: "launch_failed", message: "there is no Python" },
    });
  });

  it("that speaks another protocol is ended for good", async () => {
    const { supervisor, workers } = await supervise();
    workers.of(0).hello(999);
    await vi.advanceTimersByTimeAsync(0);
    expect(supervisor.state).toMatchObject({ kind: "failed", lastFailure: { code: "protocol_mismatch" } });
  });

  it.each([
    ["model_not_found", "failed"],
    ["out_of_memory", "backoff"],
  ] as const)("that ends with %s is %s, with its own words as the reason", async (code, kind) => {
    const { supervisor, workers } = await supervise();
    workers.of(0).say({ type: "fatal", code, message: "its own words" });
    workers.of(0).die();
    await vi.advanceTimersByTimeAsync(0);
    expect(supervisor.state).toMatchObject({ kind, lastFailure: { code, message: "its own words" } });
  });

  it("that dies is replaced after a pause, and its listener is called", async () => {
    const { supervisor, workers, lost } = await supervise();
    workers.of(0).ready();
    workers.of(0).die("SIGSEGV");
    await vi.advanceTimersByTimeAsync(0);
    expect([supervisor.state.kind, lost]).toEqual(["backoff", ["the worker ended with signal SIGSEGV"]]);
    await vi.advanceTimersByTimeAsync(1_000);
    expect([supervisor.state.kind, workers.of(0).identity]).toEqual(["starting", "w0.2"]);
  });

  it("that shows no progress while it loads is ended after its own time, not before", async () => {
    const { supervisor, workers } = await supervise();
    workers.of(0).say({ type: "loading", stage: "weights", progress: 0.1, detail: null });
    await vi.advanceTimersByTimeAsync(START_MS - 1_000);
    expect(supervisor.state.kind).toBe("starting");
    await vi.advanceTimersByTimeAsync(2_000);
    expect(supervisor.state.lastFailure).toMatchObject({
      code: "loading_stalled",
      message: expect.stringMatching(/while loading \(weights\).*LATENTCAST_START_TIMEOUT_SECONDS/),
    });
  });
});

describe("a worker that holds work", () => {
  const small: LongestPiece = { seconds: 0.01 };

  it("and answers pings, but finishes nothing, hangs", async () => {
    const { supervisor, workers, holds } = await supervise();
    workers.of(0).ready();
    holds.piece = small;
    await vi.advanceTimersByTimeAsync(STALL_MS + 500);
    expect(supervisor.state.lastFailure).toMatchObject({
      code: "stalled",
      message: "the worker made no step for 1 s",
    });
  });

  it("and finishes piece after piece does not", async () => {
    const { supervisor, workers, holds } = await supervise();
    workers.of(0).ready();
    holds.piece = small;
    for (let n = 0; n < 20; n += 1) {
      workers.of(0).iterations += 1;
      await vi.advanceTimersByTimeAsync(STALL_MS / 2);
    }
    expect(supervisor.state.kind).toBe("ready");
  });

  it.each<[string, LongestPiece, number]>([
    ["whose steps take 70 s", { seconds: 70 }, 2_100_000],
    ["of which nothing has been measured", { seconds: null }, START_MS],
  ])("%s is given the time that such work takes, and is found when it hangs", async (_, piece, limitMs) => {
    const { supervisor, workers, holds } = await supervise();
    workers.of(0).ready();
    holds.piece = piece;
    await vi.advanceTimersByTimeAsync(limitMs - 1_000);
    expect(supervisor.state.kind).toBe("ready");
    await vi.advanceTimersByTimeAsync(2_000);
    expect(failureOf(supervisor)).toBe("stalled");
  });
});

describe("a worker that holds nothing", () => {
  it("and answers pings is never replaced", async () => {
    const { supervisor, workers } = await supervise();
    workers.of(0).ready();
    await vi.advanceTimersByTimeAsync(100 * STALL_MS);
    expect(supervisor.state.kind).toBe("ready");
  });

  it("and answers no pings hangs", async () => {
    const { supervisor, workers } = await supervise();
    workers.of(0).ready();
    workers.of(0).isPolite = false;
    await vi.advanceTimersByTimeAsync(STALL_MS + 10_000);
    expect(failureOf(supervisor)).toBe("stalled");
  });
});
