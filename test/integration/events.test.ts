import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { requestEvents, type RequestEventName } from "../../src/schema/queue.ts";
import { eventually } from "../support/eventually.ts";
import { readEvents, resultOf, statusOf, submit, type NamedEvent } from "../support/queue.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ worker: "one_at_a_time" });
  await server.ready();
});
afterAll(() => server.close());

const eventsUrl = (id: string): string => `${server.url}/requests/${id}/events`;
const names = (events: readonly NamedEvent[]): string[] => events.map(({ name }) => name);
const input = { prompt: "x", seed: 5, num_inference_steps: 12 };
/** A fifth of a second for each step: long enough to leave and come back. */
const slow = { ...input, prompt: "slow" };

async function untilRunning(reply: Awaited<ReturnType<typeof submit>>): Promise<void> {
  await eventually(async () => expect((await statusOf(reply)).status).toBe("IN_PROGRESS"));
}

describe("the events of a request", () => {
  it("have names, ids that differ, and data of the documented shape; the last is the result", async () => {
    const blocker = await submit(server.url, { ...slow, num_inference_steps: 50 });
    const reply = await submit(server.url, input);
    const waiting = await readEvents(reply.events_url, { isEnough: ({ name }) => name === "queued" });
    expect(waiting.events).toMatchObject([{ name: "queued", data: { position: 0, estimate: expect.any(Number) } }]);
    await fetch(blocker.cancel_url, { method: "PUT" });
    // Everything from the first event on, which is the one that has been seen.
    const { events: later } = await readEvents(reply.events_url, { lastEventId: waiting.events[0]!.id });
    const events = [...waiting.events, ...later];
    expect(new Set(names(events))).toEqual(new Set(["queued", "started", "progress", "preview", "result"]));
    expect(new Set(events.map(({ id }) => id)).size).toBe(events.length);
    for (const { name, data } of events) requestEvents[name as RequestEventName].parse(data);
    expect(events.at(-1)).toMatchObject({ id: "end", name: "result", data: await (await resultOf(reply)).json() });
  });

  it("name every step once, in order", async () => {
    const reply = await submit(server.url, input);
    const { events } = await readEvents(reply.events_url);
    const steps = events.filter(({ name }) => name === "progress").map(({ data }) => data["step"]);
    const first = Number(steps[0]);
    expect(steps).toEqual(Array.from({ length: 12 - first }, (_, index) => first + index));
  });

  it("begin for a late listener with the state and the newest preview", async () => {
    const reply = await submit(server.url, { ...slow, num_inference_steps: 50 });
    await readEvents(reply.events_url, { isEnough: ({ name, data }) => name === "progress" && data["step"] === 7 });
    const { events } = await readEvents(reply.events_url, { isEnough: ({ name }) => name === "preview" });
    expect(names(events)).not.toContain("queued");
    expect(events[0]?.name).toBe("started");
    const preview = requestEvents.preview.parse(events.find(({ name }) => name === "preview")?.data);
    // Step 7 has been: the previews of steps 0 and, once there is a newer one, 5 are of no use to anybody.
    expect(preview.preview.step).toBeGreaterThanOrEqual(5);
    await fetch(reply.cancel_url, { method: "PUT" });
  });

  it("continue after the last one that was read, except for superseded previews", async () => {
    const reply = await submit(server.url, input);
    const before = await readEvents(reply.events_url, {
      isEnough: ({ name, data }) => name === "progress" && data["step"] === 3,
    });
    const seen = before.events.findIndex(({ name, data }) => name === "progress" && data["step"] === 3);
    const lastEventId = before.events[seen]!.id;
    await resultOf(reply).then((response) => response.arrayBuffer());
    const after = await readEvents(reply.events_url, { lastEventId });
    // It has ended meanwhile: all that is left to say is how.
    expect(names(after.events)).toEqual(["result"]);
  });

  it("continue without a gap while the request runs", async () => {
    const reply = await submit(server.url, { ...slow, num_inference_steps: 50 });
    const isStep = ({ name }: NamedEvent) => name === "progress";
    const before = await readEvents(reply.events_url, {
      isEnough: ({ name, data }) => name === "progress" && data["step"] === 3,
    });
    const after = await readEvents(reply.events_url, {
      lastEventId: before.events.at(-1)!.id,
      isEnough: ({ name, data }) => name === "progress" && data["step"] === 8,
    });
    const steps = [...before.events, ...after.events].filter(isStep).map(({ data }) => Number(data["step"]));
    const [first = 0] = steps;
    // As many as have come in one piece, the ninth at least.
    expect(steps).toEqual(steps.map((_, index) => first + index));
    expect(steps).toContain(8);
    await fetch(reply.cancel_url, { method: "PUT" });
  });

  it("take the last id from the query as well, where a browser cannot set headers", async () => {
    const reply = await submit(server.url, input);
    await resultOf(reply);
    expect((await fetch(`${reply.events_url}?last_event_id=end`)).status).toBe(204);
  });

  it("end with 204 for a browser that reconnects after the last one", async () => {
    const reply = await submit(server.url, input);
    const { events } = await readEvents(reply.events_url);
    const back = await fetch(reply.events_url, { headers: { "last-event-id": events.at(-1)!.id } });
    expect(back.status).toBe(204);
  });

  it("are the same bytes for everybody", async () => {
    const reply = await submit(server.url, { ...slow, num_inference_steps: 20 });
    await untilRunning(reply);
    const bodies = await Promise.all([1, 2, 3].map(async () => (await fetch(reply.events_url)).text()));
    const tail = (body: string): string => body.slice(body.indexOf('{"step":19'));
    expect(new Set(bodies.map(tail)).size).toBe(1);
  });

  it("end with an error that carries its status", async () => {
    const cancelled = await submit(server.url, { ...slow, num_inference_steps: 50 });
    await untilRunning(cancelled);
    const events = readEvents(cancelled.events_url);
    await fetch(cancelled.cancel_url, { method: "PUT" });
    expect((await events).events.at(-1)).toMatchObject({
      id: "end",
      name: "error",
      data: { status: 499, error_type: "cancelled" },
    });
    const refused = await submit(server.url, {});
    expect((await readEvents(refused.events_url)).events).toMatchObject([{ name: "error", data: { status: 422 } }]);
  });

  it("do not exist for an unknown request", async () => {
    expect((await fetch(eventsUrl("nobody"))).status).toBe(404);
  });

  it("do not cancel the request when their reader leaves", async () => {
    const reply = await submit(server.url, { ...input, num_inference_steps: 20 });
    await readEvents(reply.events_url, { isEnough: ({ name }) => name === "started" });
    expect((await resultOf(reply)).status).toBe(200);
  });
});
