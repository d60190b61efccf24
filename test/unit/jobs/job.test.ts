import { describe, expect, it } from "vitest";
import { LatentcastError } from "../../../src/errors.ts";
import type { Entry } from "../../../src/jobs/event-log.ts";
import type { TerminalEvent } from "../../../src/jobs/events.ts";
import { job, jobRequest, pendingJob } from "../../support/builders.ts";

const failed: TerminalEvent = { kind: "failed", error: new LatentcastError("internal_error") };
const cancelled: TerminalEvent = { kind: "cancelled", reason: "client_gone" };
const preview = { kind: "preview", step: 0, totalSteps: 20, images: [] } as const;

async function read(entries: AsyncIterable<Entry>): Promise<string[]> {
  const kinds: string[] = [];
  for await (const { event } of entries) kinds.push(event.kind);
  return kinds;
}

describe("a job", () => {
  it("ends once, whatever comes after", async () => {
    const subject = job();
    const heard = read(subject.follow());
    subject.start(1, 20);
    expect(subject.finish(failed)).toBe(true);
    expect(subject.finish(cancelled)).toBe(false);
    subject.progress(3);
    subject.preview(preview, 2);
    subject.requeue();
    expect(subject.state).toBe(failed);
    expect(await heard).toEqual(["started", "failed"]);
  });

  it("gives a late listener its state: position, or start and newest preview, or last event", async () => {
    const subject = job();
    subject.queued(2, 1_000);
    const early = subject.follow();
    subject.start(1, 20);
    subject.preview(preview, 2);
    subject.preview({ ...preview, step: 5 }, 3);
    const late = subject.follow();
    subject.finish(cancelled);
    expect(await read(early)).toEqual(["queued", "started", "preview", "cancelled"]);
    expect(await read(late)).toEqual(["started", "preview", "cancelled"]);
    expect(await read(subject.follow())).toEqual(["cancelled"]);
  });

  it("is abandoned when its last listener leaves, not before", () => {
    let abandoned = 0;
    const subject = job({}, () => (abandoned += 1));
    const [first, second] = [new AbortController(), new AbortController()];
    for (const { signal } of [first, second]) subject.follow({ signal });
    first.abort();
    expect(abandoned).toBe(0);
    second.abort();
    expect(abandoned).toBe(1);
  });

  it("that is kept, or has ended, is never abandoned", () => {
    let abandoned = 0;
    const gone = new AbortController();
    job({ keep: true }, () => (abandoned += 1)).follow({ signal: gone.signal });
    const ended = job({}, () => (abandoned += 1));
    ended.follow({ signal: gone.signal });
    ended.finish(failed);
    gone.abort();
    expect(abandoned).toBe(0);
  });

  it("counts the previews that slow listeners missed, also those that have left", () => {
    const subject = job({ keep: true });
    subject.start(0, 20);
    const slow = new AbortController();
    subject.follow({ signal: slow.signal });
    for (const step of [0, 1, 2]) subject.preview({ ...preview, step }, step);
    expect(subject.dropped).toBe(2);
    slow.abort();
    expect(subject.dropped).toBe(2);
    subject.follow();
    subject.preview(preview, 3);
    subject.finish(cancelled);
    expect(subject.dropped).toBe(3);
  });

  it("starts again after its worker's death with its first start kept", () => {
    const subject = job();
    subject.start(10, 20);
    subject.requeue();
    expect(subject.state.kind).toBe("queued");
    subject.start(20, 20);
    expect(subject.startedAtMs).toBe(10);
  });

  it("has no request and cannot start before a model is loaded, then has the request that it was resolved to", async () => {
    const subject = pendingJob();
    subject.start(1, 20);
    expect([subject.state.kind, subject.request]).toEqual(["pending", undefined]);
    const request = jobRequest();
    subject.resolve(request);
    expect([subject.state.kind, await subject.resolved]).toEqual(["queued", request]);
  });

  it("that ends while it waits for a model rejects `resolved` with its error", async () => {
    const subject = pendingJob();
    subject.finish({ kind: "cancelled", reason: "shutdown" });
    await expect(subject.resolved).rejects.toMatchObject({ code: "draining" });
  });
});
