import pino from "pino";
import { describe, expect, it, vi } from "vitest";
import { WorkerPool } from "../../../src/worker/pool.ts";
import type { SlotState } from "../../../src/worker/slot-state.ts";
import { MemoryWorkers } from "../../support/memory-workers.ts";

async function open(slots = 2) {
  const workers = new MemoryWorkers();
  const counters = { stale: 0, garbage: 0 };
  const heard: string[] = [];
  const pool = await WorkerPool.open({
    ...workers.options(slots),
    settings: { startTimeoutMs: 60_000, stallTimeoutMs: 30_000, stopGraceMs: 100 },
    log: pino({ level: "silent" }),
    counters,
  });
  pool.start({
    changed: (slot: number, { kind }: SlotState) => heard.push(`${slot} is ${kind}`),
    report: (slot, { report }) => heard.push(`${slot} says ${report.type}`),
    lost: (slot) => heard.push(`${slot} is lost`),
    longestPiece: () => undefined,
  });
  await vi.waitFor(() => expect(workers.started).toHaveLength(slots));
  return { pool, workers, counters, heard };
}

describe("the pool", () => {
  it("starts nothing before it knows who listens", async () => {
    const workers = new MemoryWorkers();
    await WorkerPool.open({
      ...workers.options(1),
      settings: { startTimeoutMs: 1, stallTimeoutMs: 1, stopGraceMs: 1 },
      log: pino({ level: "silent" }),
      counters: { stale: 0, garbage: 0 },
    });
    await new Promise(setImmediate);
    expect(workers.started).toEqual([]);
  });

  it("hands reports to the slot that they come from", async () => {
    const { workers, heard } = await open();
    workers.of(1).ready();
    workers.of(1).start("a");
    expect(heard).toEqual(["1 is ready", "1 says started"]);
  });

  it("counts messages of a process that was replaced, and bytes that are no message", async () => {
    const { workers, counters, heard } = await open(1);
    const first = workers.of(0);
    first.ready();
    first.die();
    await vi.waitFor(() => expect(workers.started).toHaveLength(2));
    first.start("a");
    workers.garbage("w0.1");
    expect(counters).toEqual({ stale: 1, garbage: 1 });
    expect(heard).not.toContain("0 says started");
  });

  it("sends to a slot's current process, and rejects when it is gone", async () => {
    const { pool, workers } = await open(1);
    const shutdown = { command: { type: "shutdown" }, payload: [] } as const;
    workers.of(0).ready();
    await pool.send(0, shutdown);
    expect(workers.of(0).received).toEqual([{ type: "shutdown" }]);
    await expect(pool.send(0, shutdown)).rejects.toThrow("not there");
    expect(() => pool.send(5, shutdown)).toThrow(RangeError);
  });

  it("that is retired replaces no worker", async () => {
    const { pool, workers, heard } = await open(1);
    workers.of(0).ready();
    pool.retire();
    workers.of(0).die();
    await vi.waitFor(() => expect(heard).toContain("0 is lost"));
    expect(heard).toContain("0 is stopped");
    expect(workers.started).toHaveLength(1);
  });

  it("asks its workers to leave, and ends those that do not", async () => {
    const { pool, workers, heard } = await open(2);
    for (const slot of [0, 1]) workers.of(slot).ready();
    workers.of(1).isPolite = false;
    await pool.stop();
    for (const slot of [0, 1]) expect(workers.of(slot).received).toContainEqual({ type: "shutdown" });
    expect(heard.slice(-4)).toEqual(expect.arrayContaining(["0 is lost", "1 is lost"]));
  });
});
