/** Requests whose id the client has chosen, to be able to cancel them before it has heard that they were accepted. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { resultOf, submit } from "../support/queue.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post } from "../support/sse.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ worker: "fixture_worker" });
  await server.ready();
});
afterAll(() => server.close());

const withId = (id: string): Record<string, string> => ({
  "content-type": "application/json",
  "x-latentcast-request-id": id,
});

const cancel = (id: string): Promise<Response> => fetch(`${server.url}/requests/${id}/cancel`, { method: "PUT" });

describe("a request with an id that its client chose", () => {
  it("has this id everywhere", async () => {
    const id = randomUUID();
    const reply = await submit(server.url, { prompt: "x" }, { headers: withId(id) });
    expect(reply.request_id).toBe(id);
    expect((await resultOf(reply)).headers.get("x-fal-request-id")).toBe(id);
  });

  it("is refused when the id is taken, and the first request is not changed", async () => {
    const id = randomUUID();
    const reply = await submit(server.url, { prompt: "x", seed: 7 }, { headers: withId(id) });
    const again = await post(`${server.url}/queue`, { prompt: "y", seed: 8 }, { headers: withId(id) });
    expect([again.status, (await again.json()).error_type]).toEqual([400, "bad_request"]);
    expect(await (await resultOf(reply)).json()).toMatchObject({ prompt: "x", seed: 7 });
  });

  it("never runs when its cancellation came first", async () => {
    const id = randomUUID();
    expect((await cancel(id)).status).toBe(404);
    const { accepted } = server.jobs.snapshot().counters;
    const late = await post(`${server.url}/queue`, { prompt: "x" }, { headers: withId(id) });
    expect([late.status, (await late.json()).error_type]).toEqual([499, "cancelled"]);
    expect(server.jobs.snapshot().counters.accepted).toBe(accepted);
  });

  it("gets a random id when the chosen one is not a UUID", async () => {
    const reply = await submit(server.url, { prompt: "x" }, { headers: withId("../../1") });
    expect(reply.request_id).toMatch(/^[\da-f-]{36}$/);
  });
});
