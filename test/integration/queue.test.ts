import { request as httpRequest } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { submitReply, queueStatus } from "../../src/schema/queue.ts";
import { eventually } from "../support/eventually.ts";
import { resultOf, statusOf, submit } from "../support/queue.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post } from "../support/sse.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ worker: "one_at_a_time", env: { LATENTCAST_QUEUE_LIMIT: "4" } });
  await server.ready();
});
afterAll(() => server.close());

/** Keeps the worker busy until it is cancelled. */
async function busy(): Promise<{ end(): Promise<void> }> {
  const reply = await submit(server.url, { prompt: "slow", num_inference_steps: 50 });
  await eventually(async () => expect((await statusOf(reply)).status).toBe("IN_PROGRESS"));
  return {
    end: async () => {
      await fetch(reply.cancel_url, { method: "PUT" });
      await eventually(() => expect(server.jobs.snapshot().workers[0]!.jobs).toBe(0));
    },
  };
}

describe("a submitted request", () => {
  it("is answered with its id and absolute addresses that work", async () => {
    const response = await post(`${server.url}/queue/local/sdxl`, { prompt: "x" });
    const reply = submitReply.parse(await response.json());
    expect(response.headers.get("x-fal-request-id")).toBe(reply.request_id);
    const root = `${server.url}/queue/local/sdxl/requests/${reply.request_id}`;
    expect(reply).toMatchObject({
      status: "IN_QUEUE",
      response_url: root,
      status_url: `${root}/status`,
      cancel_url: `${root}/cancel`,
    });
    expect((await resultOf(reply)).status).toBe(200);
  });

  it("ends with exactly the response of POST /, under its own id", async () => {
    const input = { prompt: "x", seed: 11 };
    const reply = await submit(server.url, input);
    const result = await resultOf(reply);
    expect(result.headers.get("x-fal-request-id")).toBe(reply.request_id);
    expect({ ...(await result.json()), timings: null }).toEqual({
      ...(await (await post(server.url, input)).json()),
      timings: null,
    });
  });

  it("is in queue behind others, then in progress, then completed with log lines and the time it took", async () => {
    const blocker = await busy();
    const [first, second] = [await submit(server.url, { prompt: "x" }), await submit(server.url, { prompt: "x" })];
    const waiting = await fetch(`${second.status_url}?logs=1`);
    expect(waiting.status).toBe(202);
    expect(queueStatus.parse(await waiting.json())).toMatchObject({ status: "IN_QUEUE", queue_position: 1 });
    expect(await statusOf(first)).toMatchObject({ status: "IN_QUEUE", queue_position: 0 });
    await blocker.end();
    await resultOf(second);
    const ended = queueStatus.parse(await statusOf(second));
    expect(ended).toMatchObject({ status: "COMPLETED", metrics: { inference_time: expect.any(Number) } });
    expect(ended.status === "COMPLETED" && ended.logs?.map(({ message }) => message)).toEqual([
      "queued",
      "started",
      ...[1, 2, 3, 4, 5, 6].map((step) => `step ${step} of 6`),
      "finished",
    ]);
    expect(await (await fetch(second.status_url)).json()).toMatchObject({ logs: null });
  });

  it("is accepted when its input is wrong, and replays the 422", async () => {
    const reply = await submit(server.url, { prompt: "" });
    const result = await resultOf(reply);
    expect(result.status).toBe(422);
    expect(await result.json()).toMatchObject({ detail: [{ loc: ["body", "prompt"] }], error_type: "invalid_request" });
    expect(await statusOf(reply)).toMatchObject({
      status: "COMPLETED",
      error: expect.any(String),
      error_type: "invalid_request",
    });
  });

  it("replays the refusal of an image that the model cannot make", async () => {
    const result = await resultOf(await submit(server.url, { prompt: "x", width: 2048 }));
    expect(result.status).toBe(422);
    expect(await result.json()).toMatchObject({ detail: [{ loc: ["body", "width"] }] });
  });

  it("has no result before its end, nor does an unknown one", async () => {
    const blocker = await busy();
    const reply = await submit(server.url, { prompt: "x" });
    expect((await fetch(reply.response_url)).status).toBe(400);
    await blocker.end();
    const unknown = await fetch(`${server.url}/requests/00000000-0000-4000-8000-000000000000`);
    expect([unknown.status, await unknown.json()]).toMatchObject([404, { error_type: "not_found" }]);
  });
});

describe("addresses of a request", () => {
  it.each([
    ["with the queue's prefix", (id: string) => `/queue/local/sdxl/requests/${id}`],
    ["without it", (id: string) => `/local/sdxl/requests/${id}`],
    ["with a sub path", (id: string) => `/queue/local/sdxl/image-to-image/requests/${id}`],
    ["in a namespace", (id: string) => `/queue/workflows/local/sdxl/requests/${id}`],
    ["alone", (id: string) => `/requests/${id}`],
    ["with /response", (id: string) => `/requests/${id}/response`],
    ["with a slash at the end", (id: string) => `/requests/${id}/`],
  ])("work %s", async (_, path) => {
    const { request_id: id, ...reply } = await submit(
      server.url,
      { prompt: "x" },
      { path: "/queue/local/sdxl/image-to-image" },
    );
    await resultOf(reply);
    expect((await fetch(server.url + path(id))).status).toBe(200);
    expect(
      (await fetch(`${server.url}${path(id).replace("/response", "")}/status/`.replace("//status", "/status"))).status,
    ).toBe(200);
  });

  it("work through fal's proxy header", async () => {
    const proxied = (target: string, init: RequestInit = {}) =>
      fetch(`${server.url}/fal`, {
        ...init,
        headers: { "content-type": "application/json", "x-fal-target-url": target },
      });
    const body = JSON.stringify({ prompt: "x" });
    const { request_id: id } = await (
      await proxied("https://queue.fal.run/local/sdxl", { method: "POST", body })
    ).json();
    await eventually(async () =>
      expect((await proxied(`https://queue.fal.run/local/sdxl/requests/${id}/status?logs=1`)).status).toBe(200),
    );
    expect((await proxied(`https://queue.fal.run/local/sdxl/requests/${id}`)).status).toBe(200);
  });

  it("start with the host that the client used", async () => {
    const headers = { "x-forwarded-proto": "https", "x-forwarded-host": "pictures.example.com" };
    const reply = await submit(server.url, { prompt: "" }, { headers });
    expect(reply.status_url).toMatch(/^https:\/\/pictures\.example\.com\/queue\/local\/sdxl\/requests\//);
    const odd = await submit(server.url, { prompt: "" }, { headers: { "x-forwarded-host": 'evil"/<x>' } });
    expect(odd.status_url.startsWith(server.url)).toBe(true);
  });

  it("work on a host called queue", async () => {
    const { port } = new URL(server.url);
    const answer = await new Promise<string>((resolve, reject) => {
      const request = httpRequest(
        {
          host: "127.0.0.1",
          port,
          path: "/local/sdxl",
          method: "POST",
          headers: { host: `queue.localhost:${port}`, "content-type": "application/json" },
        },
        (response) => response.setEncoding("utf8").on("data", resolve),
      );
      request.on("error", reject).end(JSON.stringify({ prompt: "" }));
    });
    expect(JSON.parse(answer)).toMatchObject({ status: "IN_QUEUE" });
  });
});

describe("cancelling", () => {
  it("removes a waiting request at once; its result is 499", async () => {
    const blocker = await busy();
    const reply = await submit(server.url, { prompt: "x" });
    const cancelled = await fetch(reply.cancel_url, { method: "PUT", headers: { "content-type": "application/json" } });
    expect([cancelled.status, await cancelled.json()]).toEqual([200, { status: "OK" }]);
    expect((await fetch(reply.response_url)).status).toBe(499);
    expect(await statusOf(reply)).toMatchObject({ status: "COMPLETED", error_type: "cancelled" });
    await blocker.end();
  });

  it("stops a running request, and frees the worker", async () => {
    const reply = await submit(server.url, { prompt: "slow", num_inference_steps: 50 });
    await eventually(async () => expect((await statusOf(reply)).status).toBe("IN_PROGRESS"));
    const cancelled = await fetch(reply.cancel_url, { method: "PUT" });
    expect([cancelled.status, await cancelled.json()]).toEqual([202, { status: "CANCELLATION_REQUESTED" }]);
    expect((await fetch(reply.response_url)).status).toBe(499);
    await eventually(() => expect(server.jobs.snapshot().workers[0]!.jobs).toBe(0));
  });

  it("is refused for a request that has ended and for an unknown one", async () => {
    const reply = await submit(server.url, { prompt: "" });
    const late = await fetch(reply.cancel_url, { method: "PUT" });
    expect([late.status, await late.json()]).toMatchObject([400, { status: "ALREADY_COMPLETED" }]);
    const unknown = await fetch(`${server.url}/requests/nobody/cancel`, { method: "PUT" });
    expect([unknown.status, await unknown.json()]).toMatchObject([404, { status: "NOT_FOUND" }]);
  });
});

describe("order", () => {
  it("serves low priority behind normal", async () => {
    const blocker = await busy();
    const low = await submit(server.url, { prompt: "x" }, { headers: { "x-fal-queue-priority": "low" } });
    const normal = await submit(server.url, { prompt: "x" });
    expect(await statusOf(low)).toMatchObject({ queue_position: 1 });
    expect(await statusOf(normal)).toMatchObject({ queue_position: 0 });
    await blocker.end();
    await resultOf(low);
  });

  it("refuses what does not fit, and stores nothing of it", async () => {
    const blocker = await busy();
    const waiting = await Promise.all([1, 2, 3, 4].map(() => submit(server.url, { prompt: "x" })));
    const refused = await post(`${server.url}/queue/local/sdxl`, { prompt: "x" });
    expect([refused.status, await refused.json()]).toMatchObject([429, { error_type: "queue_full" }]);
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    const id = refused.headers.get("x-fal-request-id");
    expect((await fetch(`${server.url}/requests/${id}/status`)).status).toBe(404);
    await blocker.end();
    for (const reply of waiting) expect((await resultOf(reply)).status).toBe(200);
  });

  it("never accepts more than fit, however many come at once", async () => {
    const blocker = await busy();
    const responses = await Promise.all(
      Array.from({ length: 12 }, () => post(`${server.url}/queue/local/sdxl`, { prompt: "x" })),
    );
    expect(responses.filter(({ status }) => status === 200)).toHaveLength(4);
    await blocker.end();
    for (const response of responses) if (response.ok) await resultOf(await response.json());
  });

  it("refuses to wait behind more requests than the client allows", async () => {
    const blocker = await busy();
    const first = await submit(server.url, { prompt: "x" });
    const refused = await post(`${server.url}/queue/local/sdxl?fal_max_queue_length=0`, { prompt: "x" });
    expect(refused.status).toBe(429);
    await blocker.end();
    await resultOf(first);
  });
});

describe("a start timeout", () => {
  const headers = {
    "content-type": "application/json",
    "x-fal-request-timeout": "30",
    "x-fal-request-start-timeout": "0.05",
  };

  it("fails a queued request that did not start in the time its client set", async () => {
    const blocker = await busy();
    const result = await resultOf(await submit(server.url, { prompt: "x" }, { headers }));
    expect([result.status, await result.json()]).toMatchObject([504, { error_type: "request_timeout" }]);
    expect(result.headers.get("x-fal-request-timeout-type")).toBe("user");
    await blocker.end();
  });

  it("does the same to POST /", async () => {
    const blocker = await busy();
    const response = await post(server.url, { prompt: "x" }, { headers });
    expect([response.status, response.headers.get("x-fal-request-timeout-type")]).toEqual([504, "user"]);
    await blocker.end();
  });

  it("never ends a request that has started", async () => {
    const started = { "content-type": "application/json", "x-fal-request-timeout": "1" };
    const response = await post(server.url, { prompt: "slow", num_inference_steps: 8 }, { headers: started });
    expect(response.status).toBe(200);
  });
});

describe("the stream of a request's status", () => {
  it("has each change once and each log line once, and ends with the request", async () => {
    const reply = await submit(server.url, { prompt: "x" });
    const response = await fetch(`${reply.status_url}/stream?logs=1`);
    const body = await response.text();
    expect(response.headers.get("content-type")).toContain("text/event-stream");
    expect(body).not.toMatch(/^(id|event|retry):/m);
    const events = [...body.matchAll(/^data: (.*)$/gm)].map(([, json]) => queueStatus.parse(JSON.parse(json!)));
    expect(events.at(-1)).toMatchObject({ status: "COMPLETED" });
    expect(events.filter(({ status }) => status === "COMPLETED")).toHaveLength(1);
    const lines = events.flatMap((event) => ("logs" in event ? (event.logs ?? []) : [])).map(({ message }) => message);
    expect(lines).toEqual(["queued", "started", ...[1, 2, 3, 4, 5, 6].map((step) => `step ${step} of 6`), "finished"]);
  });

  it("repeats nothing without logs", async () => {
    const reply = await submit(server.url, { prompt: "x" });
    const body = await (await fetch(`${reply.status_url}/stream`)).text();
    const states = [...body.matchAll(/"status":"(\w+)"/g)].map(([, state]) => state);
    expect(states.filter((state) => state === "IN_PROGRESS")).toHaveLength(1);
    expect(states.at(-1)).toBe("COMPLETED");
  });
});
