import { describe, expect, it } from "vitest";
import { LatentcastError } from "../../../src/errors.ts";
import type { JobEvent, TerminalEvent } from "../../../src/jobs/events.ts";
import { job } from "../../support/builders.ts";

const failed: TerminalEvent = { kind: "failed", error: new LatentcastError("internal_error") };
const cancelled: TerminalEvent = { kind: "cancelled", reason: "client_gone" };
const preview = { kind: "preview", step: 0, totalSteps: 20, pictures: [] } as const;

async function read(events: AsyncIterable<JobEvent>): Promise<string[]> {
  const kinds: string[] = [];
  for await (const { kind } of events) kinds.push(kind);
  return kinds;
}

describe("a job", () => {
  it("ends once, whatever comes after", async () => {
    const subject = job();
    const heard = read(subject.listen());
    subject.start(1);
    expect(subject.finish(failed)).toBe(true);
    expect(subject.finish(cancelled)).toBe(false);
    subject.progress(3);
    subject.preview(preview, 2);
    subject.requeue();
    expect(subject.state).toBe(failed);
    expect(await heard).toEqual(["started", "failed"]);
  });

  it("tells a late listener where it stands: place, or start and newest preview, or ending", async () => {
    const subject = job();
    subject.queued(2, 1_000);
    const early = subject.listen();
    subject.start(1);
    subject.preview(preview, 2);
    subject.preview({ ...preview, step: 5 }, 3);
    const late = subject.listen();
    subject.finish(cancelled);
    expect(await read(early)).toEqual(["queued", "started", "preview", "cancelled"]);
    expect(await read(late)).toEqual(["started", "preview", "cancelled"]);
    expect(await read(subject.listen())).toEqual(["cancelled"]);
  });

  it("is abandoned when its last listener leaves, not before", () => {
    let abandoned = 0;
    const subject = job({}, () => (abandoned += 1));
    const [first, second] = [subject.listen(), subject.listen()];
    first.close();
    expect(abandoned).toBe(0);
    second.close();
    expect(abandoned).toBe(1);
  });

  it("that is kept, or has ended, is never abandoned", () => {
    let abandoned = 0;
    const kept = job({ keep: true }, () => (abandoned += 1));
    kept.listen().close();
    const ended = job({}, () => (abandoned += 1));
    const listener = ended.listen();
    ended.finish(failed);
    listener.close();
    expect(abandoned).toBe(0);
  });

  it("counts the previews that slow listeners missed, also those that have left", () => {
    const subject = job({ keep: true });
    subject.start(0);
    const slow = subject.listen();
    for (const step of [0, 1, 2]) subject.preview({ ...preview, step }, step);
    expect(subject.dropped).toBe(2);
    slow.close();
    expect(subject.dropped).toBe(2);
    subject.listen();
    subject.preview(preview, 3);
    subject.finish(cancelled);
    expect(subject.dropped).toBe(3);
  });

  it("starts again after its worker's death with its first start kept", () => {
    const subject = job();
    subject.start(10);
    subject.requeue();
    expect(subject.state.kind).toBe("queued");
    subject.start(20);
    expect(subject.startedAtMs).toBe(10);
  });
});
