import { describe, expect, it } from "vitest";
import { EventLog, type Entry } from "../../../src/jobs/event-log.ts";
import type { JobEvent, JobPreview } from "../../../src/jobs/events.ts";

const preview = (step: number): JobPreview => ({ kind: "preview", step, totalSteps: 20, images: [] });
const progress = (step: number): JobEvent => ({ kind: "progress", step, totalSteps: 20 });
const queued = (position: number): JobEvent => ({ kind: "queued", position, estimateMs: null });
const started: JobEvent = { kind: "started", totalSteps: 20 };
const cancelled: JobEvent = { kind: "cancelled", reason: "client_gone" };

function logOf(...events: JobEvent[]): EventLog {
  const log = new EventLog();
  for (const event of events) log.append(event);
  return log;
}

async function read(entries: AsyncIterable<Entry>): Promise<Entry[]> {
  const all: Entry[] = [];
  for await (const entry of entries) all.push(entry);
  return all;
}

const events = async (entries: AsyncIterable<Entry>): Promise<JobEvent[]> =>
  (await read(entries)).map(({ event }) => event);

describe("a follower", () => {
  it("that keeps up gets everything in order", async () => {
    const log = new EventLog();
    const heard = events(log.follow());
    for (const event of [started, preview(0), preview(5), cancelled]) {
      log.append(event);
      await new Promise(setImmediate);
    }
    expect(await heard).toEqual([started, preview(0), preview(5), cancelled]);
    expect(log.dropped).toBe(0);
  });

  it("that is slow gets the newest preview and every step, and what it missed is counted", async () => {
    const log = new EventLog();
    const slow = log.follow();
    for (const event of [started, progress(0), preview(0), progress(1), preview(1), progress(2), preview(2), cancelled])
      log.append(event);
    expect(log.dropped).toBe(2);
    expect(await events(slow)).toEqual([started, progress(0), progress(1), progress(2), preview(2), cancelled]);
    expect(log.dropped).toBe(2);
  });

  it("that is slow gets the newest position only, which is no loss", async () => {
    const log = new EventLog();
    const slow = log.follow();
    for (const event of [queued(3), queued(2), queued(1), cancelled]) log.append(event);
    expect(await events(slow)).toEqual([queued(1), cancelled]);
    expect(log.dropped).toBe(0);
  });

  it.each([
    ["before the start its newest position", [queued(2), queued(1)], [queued(1)]],
    [
      "after it the start, the newest step and the newest preview",
      [queued(0), started, progress(0), preview(0), progress(1)],
      [started, preview(0), progress(1)],
    ],
    [
      "after its worker's death its position and the newest preview",
      [started, preview(0), queued(0)],
      [preview(0), queued(0)],
    ],
  ] as const)("that comes late hears %s first, then everything", async (_, before, standing) => {
    const log = logOf(...before);
    const late = events(log.follow());
    await new Promise(setImmediate);
    log.append(progress(9));
    log.append(cancelled);
    expect(await late).toEqual([...standing, progress(9), cancelled]);
  });

  it("of a job that has ended gets its last event", async () => {
    expect(await events(logOf(started, preview(0), cancelled).follow())).toEqual([cancelled]);
  });

  it("that comes back continues after the last entry that it has read", async () => {
    const log = logOf(started, progress(0), preview(0), progress(1));
    const again = read(log.follow({ after: 2 }));
    log.append(cancelled);
    expect((await again).map(({ sequence }) => sequence)).toEqual([3, 4, 5]);
  });

  it("takes nothing from another one", async () => {
    const log = new EventLog();
    const [slow, quick] = [log.follow(), events(log.follow())];
    for (const event of [preview(0), preview(1), cancelled]) {
      log.append(event);
      await new Promise(setImmediate);
    }
    expect(await quick).toEqual([preview(0), preview(1), cancelled]);
    expect(await events(slow)).toEqual([preview(1), cancelled]);
    expect(log.dropped).toBe(1);
  });
});

describe("a log", () => {
  it("keeps nothing after the last event", async () => {
    const log = logOf(cancelled, preview(0), started);
    expect(await events(log.follow({ after: 0 }))).toEqual([cancelled]);
  });

  it("is deserted when the last follower leaves, by a break or by its signal, and not before", async () => {
    let deserted = 0;
    const log = new EventLog(() => (deserted += 1));
    log.append(preview(0));
    const gone = new AbortController();
    const waiting = events(log.follow({ signal: gone.signal }));
    for await (const _ of log.follow()) break;
    expect(deserted).toBe(0);
    gone.abort();
    expect(deserted).toBe(1);
    expect(await waiting).toEqual([preview(0)]);
  });

  it("is deserted by a follower that leaves before it reads, or whose signal has fired already", () => {
    let deserted = 0;
    const log = new EventLog(() => (deserted += 1));
    const gone = new AbortController();
    log.follow({ signal: gone.signal });
    gone.abort();
    log.follow({ signal: gone.signal });
    expect(deserted).toBe(2);
  });

  it("counts what followers that left have missed, even those that never read", () => {
    const log = logOf(preview(0));
    const gone = new AbortController();
    log.follow({ signal: gone.signal });
    for (const step of [1, 2]) log.append(preview(step));
    gone.abort();
    log.append(preview(3));
    expect(log.dropped).toBe(2);
  });

  it("that has ended is never deserted", async () => {
    let deserted = 0;
    const log = new EventLog(() => (deserted += 1));
    const follower = log.follow();
    log.append(cancelled);
    expect(await events(follower)).toEqual([cancelled]);
    expect(deserted).toBe(0);
  });
});

describe("a log whose source numbers the events", () => {
  it("keeps their numbers, in order and once, so that a place in one log is the same place in another", async () => {
    const [first, second] = [new EventLog(), new EventLog()];
    first.append(started, 100);
    for (const log of [first, second]) {
      log.append(progress(0), 101);
      log.append(preview(0), 105);
      log.append(progress(0), 101);
      log.append(progress(1), 104);
      log.append(cancelled, 200);
    }
    const rest = [
      { sequence: 105, event: preview(0) },
      { sequence: 200, event: cancelled },
    ];
    expect(await read(first.follow({ after: 101 }))).toEqual(rest);
    expect(await read(second.follow({ after: 101 }))).toEqual(rest);
  });
});
