import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createClient, LatentcastError, type LatentcastClient, type StreamEvent } from "../../../src/client/index.ts";
import {
  events,
  json,
  previewFrame,
  refused,
  resultFrame,
  scriptedServer,
  unreachable,
  type Answer,
  type ScriptedServer,
} from "../../support/scripted-server.ts";

const accepted = json({ request_id: "r1" });
const done = json({ status: "CANCELLATION_REQUESTED" }, 202);

const unhandled: unknown[] = [];
const note = (reason: unknown): void => void unhandled.push(reason);
beforeEach(() => {
  unhandled.length = 0;
  process.on("unhandledRejection", note);
});
afterEach(async () => {
  vi.useRealTimers();
  // Node tells of unhandled rejections once the microtasks are done.
  await new Promise((resolve) => setImmediate(resolve));
  process.off("unhandledRejection", note);
  if (unhandled.length > 0) throw new Error("a rejection was left unhandled", { cause: unhandled[0] });
});

function clientOf(script: Readonly<Record<string, Answer | readonly Answer[]>>): {
  client: LatentcastClient;
  server: ScriptedServer;
} {
  const server = scriptedServer({ "POST /queue": accepted, "PUT /requests/r1/cancel": done, ...script });
  return { server, client: createClient({ baseUrl: "http://h/", apiKey: "k", fetch: server.fetch }) };
}

async function thrownBy(promise: Promise<unknown>): Promise<LatentcastError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof LatentcastError)) throw new Error(`expected a LatentcastError, got ${String(error)}`);
  return error;
}

async function collect(stream: AsyncIterable<StreamEvent>): Promise<StreamEvent[]> {
  const seen: StreamEvent[] = [];
  for await (const event of stream) seen.push(event);
  return seen;
}

describe("stream", () => {
  it("sends nothing before it is read", async () => {
    const { client, server } = clientOf({ "GET /requests/r1/events": events([resultFrame]) });
    const stream = client.stream({ prompt: "x" });
    await Promise.resolve();
    expect(server.asked).toEqual([]);
    await stream.result();
    expect(server.asked[0]).toMatchObject({
      method: "POST",
      headers: { authorization: "Key k" },
      body: { prompt: "x" },
    });
  });

  it("yields every event, and has the result when the loop is over", async () => {
    const { client } = clientOf({
      "GET /requests/r1/events": events([
        { id: "a.1", event: "queued", data: { position: 3, estimate: 1.5 } },
        { id: "a.2", event: "started", data: { total_steps: 20 } },
        { id: "a.3", event: "progress", data: { step: 0, total_steps: 20, progress: 0.05 } },
        { id: "a.4", event: "invented later", data: {} },
        previewFrame(0, "a.5"),
        resultFrame,
      ]),
    });
    const stream = client.stream({ prompt: "x" });
    const image = { url: "data:image/jpeg;base64,AA==", contentType: "image/jpeg", width: 64, height: 64 };
    expect(await collect(stream)).toEqual([
      { kind: "queued", position: 3, estimateMs: 1_500 },
      { kind: "started" },
      { kind: "progress", step: 0, totalSteps: 20 },
      { kind: "preview", step: 0, totalSteps: 20, image, images: [image] },
    ]);
    expect(await stream.result()).toEqual({
      requestId: "r1",
      image,
      images: [image],
      seed: 1,
      prompt: "x",
      timings: { queueMs: 500, inferenceMs: 2_250, firstPreviewMs: null },
      warnings: ["careful"],
    });
    expect(stream.requestId).toBe("r1");
  });

  it("can be read once", async () => {
    const { client } = clientOf({ "GET /requests/r1/events": events([resultFrame]) });
    const stream = client.stream({ prompt: "x" });
    await collect(stream);
    await expect(collect(stream)).rejects.toThrow(TypeError);
  });

  it("shows two previews of one network chunk to a reader that keeps up", async () => {
    const { client } = clientOf({
      "GET /requests/r1/events": events([previewFrame(0), previewFrame(5), previewFrame(10), resultFrame]),
    });
    const stream = client.stream({ prompt: "x" });
    expect((await collect(stream)).map((event) => "step" in event && event.step)).toEqual([0, 5, 10]);
    expect(stream.dropped).toBe(0);
  });

  it("keeps the newest preview for a reader that is slow, and counts the others", async () => {
    const { client } = clientOf({
      "GET /requests/r1/events": events([previewFrame(0), previewFrame(5), previewFrame(10), resultFrame]),
    });
    const stream = client.stream({ prompt: "x" });
    await stream.result();
    expect((await collect(stream)).map((event) => "step" in event && event.step)).toEqual([10]);
    expect(stream.dropped).toBe(2);
  });

  it("cancels the request on the server when the loop is left", async () => {
    const { client, server } = clientOf({ "GET /requests/r1/events": events([previewFrame(0)], "stay") });
    const stream = client.stream({ prompt: "x" });
    for await (const _event of stream) break;
    expect((await thrownBy(stream.result())).code).toBe("cancelled");
    expect(server.asked.at(-1)).toMatchObject({ method: "PUT", path: "/requests/r1/cancel" });
  });

  it("cancels the request when its signal fires", async () => {
    const { client, server } = clientOf({ "GET /requests/r1/events": events([previewFrame(0)], "stay") });
    const leave = new AbortController();
    const error = await thrownBy(
      (async () => {
        for await (const _event of client.stream({ prompt: "x" }, { signal: leave.signal })) leave.abort("enough");
      })(),
    );
    expect(error).toMatchObject({ code: "cancelled", cause: "enough" });
    expect(server.asked.at(-1)?.path).toBe("/requests/r1/cancel");
  });

  it("cancels a request that was still being accepted when its signal fired", async () => {
    let accept = (_response: Response): void => undefined;
    const { client, server } = clientOf({ "POST /queue": () => new Promise((resolve) => (accept = resolve)) });
    const leave = new AbortController();
    const result = client.stream({ prompt: "x" }, { signal: leave.signal }).result();
    await vi.waitFor(() => expect(server.asked).toHaveLength(1));
    leave.abort();
    expect((await thrownBy(result)).code).toBe("cancelled");
    accept(Response.json({ request_id: "r1" }));
    await vi.waitFor(() => expect(server.asked.at(-1)?.path).toBe("/requests/r1/cancel"));
  });

  it("cancels by the id it chose when the connection failed before the answer: the server may have accepted it", async () => {
    const paths: string[] = [];
    const client = createClient({
      baseUrl: "http://h",
      fetch: (url, init) => {
        paths.push(`${init.method} ${new URL(url).pathname}`);
        if (init.method === "PUT") return Promise.resolve(Response.json({ status: "OK" }));
        const { "x-latentcast-request-id": id } = init.headers as Record<string, string>;
        paths.push(`PUT /requests/${id}/cancel`);
        return Promise.reject(new TypeError("terminated"));
      },
    });
    expect((await thrownBy(client.generate({ prompt: "x" }))).code).toBe("connection_failed");
    await vi.waitFor(() => expect(paths).toHaveLength(3));
    expect(paths[2]).toBe(paths[1]);
    expect(paths[1]).toMatch(
      /^PUT \/requests\/[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}\/cancel$/,
    );
  });

  it("sends nothing when its signal has fired already", async () => {
    const { client, server } = clientOf({});
    expect((await thrownBy(client.generate({ prompt: "x" }, { signal: AbortSignal.abort() }))).code).toBe("cancelled");
    expect(server.asked).toEqual([]);
  });

  it("causes no unhandled rejection when the result is not awaited", async () => {
    const { client } = clientOf({ "POST /queue": refused("queue_full", 429) });
    const stream = client.stream({ prompt: "x" });
    void stream.result();
    expect((await thrownBy(collect(stream))).code).toBe("queue_full");
  });
});

describe("failures", () => {
  it("have a code, status, fields, the request's id and the time to wait", async () => {
    const detail = [{ loc: ["body", "prompt"], msg: "Field required", type: "missing" }];
    const { client } = clientOf({
      "POST /queue": json({ detail, message: "prompt: Field required", error_type: "invalid_request" }, 422, {
        "x-fal-request-id": "r9",
        "retry-after": "7",
      }),
    });
    expect(await thrownBy(client.generate({ prompt: "x" }))).toMatchObject({
      code: "invalid_request",
      status: 422,
      message: "prompt: Field required",
      fields: detail,
      requestId: "r9",
      retryAfterSeconds: 7,
    });
  });

  it.each([
    ["seconds", "7", 7],
    ["a date", new Date(Date.now() + 3_600_000).toUTCString(), 3_600],
    ["a date that has passed", "Wed, 21 Oct 2015 07:28:00 GMT", 0],
    ["nothing", "", undefined],
    ["something else", "soon", undefined],
  ])("read Retry-After as %s", async (_name, header, seconds) => {
    const { client } = clientOf({
      "POST /queue": json({ detail: "no", message: "no", error_type: "queue_full" }, 429, { "retry-after": header }),
    });
    const { retryAfterSeconds } = await thrownBy(client.generate({ prompt: "x" }));
    // A date has no milliseconds, and the clock goes on between here and there.
    if (seconds === 3_600) {
      expect(retryAfterSeconds).toBeGreaterThan(3_000);
      expect(retryAfterSeconds).toBeLessThanOrEqual(3_600);
    } else expect(retryAfterSeconds).toBe(seconds);
  });

  it("of the run end the loop and are not tried again", async () => {
    const failure = { detail: "no", message: "no", error_type: "draining", status: 503 };
    const { client, server } = clientOf({ "GET /requests/r1/events": events([{ event: "error", data: failure }]) });
    const stream = client.stream({ prompt: "x" });
    expect(await thrownBy(collect(stream))).toMatchObject({ code: "draining", status: 503, requestId: "r1" });
    expect(await thrownBy(stream.result())).toMatchObject({ code: "draining" });
    expect(server.asked).toHaveLength(2);
  });

  it.each<[string, Answer]>([
    ["a page of something else", () => new Response("<html>", { headers: { "content-type": "text/html" } })],
    [
      "an event that is not JSON",
      () => new Response("event: started\ndata: {\n\n", { headers: { "content-type": "text/event-stream" } }),
    ],
    ["a preview without a picture", events([{ event: "preview", data: { preview: { step: 1, total_steps: 2 } } }])],
    ["an error of another server", json({ oops: true }, 418)],
  ])("name %s as unexpected", async (_name, answer) => {
    const { client } = clientOf({ "GET /requests/r1/events": answer });
    expect((await thrownBy(client.generate({ prompt: "x" }))).code).toBe("unexpected_response");
  });

  it("name a server that cannot be reached", async () => {
    const { client } = clientOf({ "POST /queue": unreachable });
    const error = await thrownBy(client.generate({ prompt: "x" }));
    expect(error).toMatchObject({ code: "connection_failed", status: undefined });
    expect(error.cause).toBeInstanceOf(TypeError);
  });
});

describe("a broken connection", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  });

  async function passing<Value>(promise: Promise<Value>): Promise<Value> {
    promise.catch(() => undefined);
    await vi.runAllTimersAsync();
    return promise;
  }

  it("is resumed after the last event that arrived", async () => {
    const { client, server } = clientOf({
      "GET /requests/r1/events": [
        events([previewFrame(0)], "break"),
        unreachable,
        refused("draining", 503),
        () => new Response("bad gateway", { status: 502 }),
        events([previewFrame(5)], "end"),
        events([resultFrame]),
      ],
    });
    const steps = (await passing(collect(client.stream({ prompt: "x" })))).map(
      (event) => "step" in event && event.step,
    );
    expect(steps).toEqual([0, 5]);
    const places = server.asked.filter(({ method }) => method === "GET").map(({ headers }) => headers["last-event-id"]);
    expect(places).toEqual([undefined, "a.0", "a.0", "a.0", "a.0", "a.5"]);
  });

  it("is given up after several attempts", async () => {
    const { client, server } = clientOf({
      "GET /requests/r1/events": [events([previewFrame(0)], "break"), unreachable],
    });
    expect((await passing(thrownBy(client.generate({ prompt: "x" })))).code).toBe("connection_failed");
    expect(server.asked.length).toBeLessThan(15);
  });

  it("is noticed when it is silent for too long", async () => {
    const { client } = clientOf({ "GET /requests/r1/events": [events([], "stay"), events([resultFrame])] });
    expect((await passing(client.generate({ prompt: "x" }))).seed).toBe(1);
  });

  it("is not resumed for a request that no longer exists", async () => {
    const { client, server } = clientOf({
      "GET /requests/r1/events": [events([], "break"), refused("not_found", 404)],
    });
    expect((await passing(thrownBy(client.generate({ prompt: "x" })))).code).toBe("not_found");
    expect(server.asked).toHaveLength(3);
  });

  it("does not keep a request from being cancelled", async () => {
    const { client, server } = clientOf({
      "GET /requests/r1/events": events([previewFrame(0)], "stay"),
      "PUT /requests/r1/cancel": [unreachable, done],
    });
    const reading = (async () => {
      for await (const _event of client.stream({ prompt: "x" })) break;
    })();
    await passing(reading);
    expect(server.asked.filter(({ method }) => method === "PUT")).toHaveLength(2);
  });
});

describe("events", () => {
  it("do not cancel the request when their loop is left", async () => {
    const { client, server } = clientOf({ "GET /requests/r1/events": events([previewFrame(0)], "stay") });
    for await (const _event of client.events("r1")) break;
    await new Promise((resolve) => setImmediate(resolve));
    expect(server.asked.map(({ method }) => method)).toEqual(["GET"]);
  });
});

describe("the queue", () => {
  it("describes a request's state in the words of the events", async () => {
    const log = { message: "step 1", level: "INFO", source: "USER", timestamp: "2026-01-01T00:00:00Z" };
    const { client } = clientOf({
      "GET /requests/r1/status": [
        json({ status: "IN_QUEUE", queue_position: 2 }, 202),
        json({ status: "IN_PROGRESS", logs: [log] }, 202),
        json({ status: "COMPLETED", logs: null, metrics: {}, error: "no", error_type: "cancelled" }),
      ],
    });
    expect(await client.status("r1")).toEqual({ kind: "queued", position: 2 });
    expect(await client.status("r1")).toEqual({
      kind: "started",
      logs: [{ message: "step 1", level: "INFO", timestamp: log.timestamp }],
    });
    expect(await client.status("r1")).toEqual({ kind: "finished", logs: [], errorCode: "cancelled" });
  });

  it("reports whether a cancellation came in time", async () => {
    const { client } = clientOf({
      "PUT /requests/r1/cancel": [json({ status: "OK" }), done, json({ status: "ALREADY_COMPLETED" }, 400)],
    });
    expect([await client.cancel("r1"), await client.cancel("r1"), await client.cancel("r1")]).toEqual([
      "cancelled",
      "requested",
      "finished",
    ]);
  });
});
