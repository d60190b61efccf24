import { describe, expect, it } from "vitest";
import type { JobEvent, PreviewEvent } from "../../../src/jobs/events.ts";
import { Mailbox } from "../../../src/jobs/mailbox.ts";

const preview = (step: number): PreviewEvent => ({ kind: "preview", step, totalSteps: 20, pictures: [] });
const cancelled: JobEvent = { kind: "cancelled", reason: "client_gone" };

async function drain(mailbox: Mailbox): Promise<JobEvent[]> {
  const events: JobEvent[] = [];
  for await (const event of mailbox) events.push(event);
  return events;
}

describe("a mailbox", () => {
  it("gives everything in order to a reader that keeps up", async () => {
    const mailbox = new Mailbox(() => undefined);
    const read = drain(mailbox);
    for (const event of [{ kind: "started" } as const, preview(0), preview(5), cancelled]) {
      mailbox.push(event);
      await new Promise(setImmediate);
    }
    expect(await read).toEqual([{ kind: "started" }, preview(0), preview(5), cancelled]);
    expect(mailbox.dropped).toBe(0);
  });

  it("keeps the newest preview and every control event for a slow reader, and counts the loss", async () => {
    const mailbox = new Mailbox(() => undefined);
    mailbox.push({ kind: "started" });
    for (const step of [0, 1, 2]) {
      mailbox.push({ kind: "progress", step, totalSteps: 3 });
      mailbox.push(preview(step));
    }
    mailbox.push(cancelled);
    const events = await drain(mailbox);
    expect(events.map(({ kind }) => kind)).toEqual([
      "started",
      "progress",
      "progress",
      "progress",
      "preview",
      "cancelled",
    ]);
    expect(events).toContainEqual(preview(2));
    expect(mailbox.dropped).toBe(2);
  });

  it("tells a waiting job's newest position only, without counting that as a loss", async () => {
    const mailbox = new Mailbox(() => undefined);
    for (const position of [3, 2, 1]) mailbox.push({ kind: "queued", position, estimateMs: null });
    mailbox.push(cancelled);
    expect(await drain(mailbox)).toEqual([{ kind: "queued", position: 1, estimateMs: null }, cancelled]);
    expect(mailbox.dropped).toBe(0);
  });

  it("ends a reader that waits when it is closed, and tells once that it was left", async () => {
    let left = 0;
    const mailbox = new Mailbox(() => (left += 1));
    const read = drain(mailbox);
    await new Promise(setImmediate);
    mailbox.close();
    mailbox.close();
    expect(await read).toEqual([]);
    expect(left).toBe(1);
  });

  it("is left by a break", async () => {
    let left = 0;
    const mailbox = new Mailbox(() => (left += 1));
    mailbox.push(preview(0));
    for await (const _event of mailbox) break;
    expect(left).toBe(1);
  });

  it("takes nothing after it was closed", async () => {
    const mailbox = new Mailbox(() => undefined);
    mailbox.close();
    mailbox.push(cancelled);
    expect(await drain(mailbox)).toEqual([]);
  });
});
