/** fal's own JavaScript client, as it comes from npm, against a real server: the queue and files. */
import { ApiError, createFalClient, ValidationError, type FalClient, type QueueStatus } from "@fal-ai/client";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

const id = "local/sdxl";

let server: TestServer;
let fal: FalClient;
beforeAll(async () => {
  server = await startTestServer({ worker: "pause_before_preview" });
  await server.ready();
  fal = clientOf();
});
afterAll(() => server.close());

function clientOf(fetch?: typeof globalThis.fetch): FalClient {
  return createFalClient({
    credentials: "test:key",
    proxyUrl: { url: `${server.url}/fal`, when: "always" },
    ...(fetch === undefined ? {} : { fetch }),
  });
}

async function apiErrorOf(promise: Promise<unknown>): Promise<ApiError<unknown>> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ApiError)) throw new Error(`expected an ApiError, got ${String(error)}`);
  return error;
}

/** Keeps every worker busy: what is submitted meanwhile waits until the returned function is called. */
async function keepBusy(): Promise<() => Promise<void>> {
  const { count } = server.devices();
  const input = { prompt: "until never" };
  const busy = await Promise.all(Array.from({ length: count }, () => fal.queue.submit(id, { input })));
  await eventually(() => expect(server.devices().held).toBe(count));
  return async () => {
    await Promise.all(busy.map(({ request_id: requestId }) => fal.queue.cancel(id, { requestId })));
  };
}

describe("fal.subscribe", () => {
  it.each([{ mode: "polling", pollInterval: 20 }, { mode: "streaming" }] as const)(
    "by $mode goes from the queue to the result, with each log line once",
    async (way) => {
      const release = await keepBusy();
      const updates: QueueStatus[] = [];
      const { data, requestId } = await fal.subscribe(id, {
        input: { prompt: "x", seed: 3, num_inference_steps: 20 },
        logs: true,
        onQueueUpdate: (update) => {
          updates.push(update);
          if (updates.length === 1) void release();
        },
        ...way,
      });
      expect([...new Set(updates.map(({ status }) => status))]).toEqual(["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]);
      expect(data).toMatchObject({ seed: 3, prompt: "x" });
      expect(requestId).toBe(updates.at(-1)?.request_id);
      // Either way the client hands on all lines so far; of a stream it puts them together itself.
      const last = updates.at(-1);
      const lines = last !== undefined && "logs" in last ? last.logs.map(({ message }) => message) : [];
      expect(lines.length).toBeGreaterThan(0);
      expect(new Set(lines).size).toBe(lines.length);
    },
  );

  it("rejects as timed out, after one request, when work has not begun in time", async () => {
    const release = await keepBusy();
    const submitted: string[] = [];
    const counting = clientOf((url, init) => {
      if (init?.method === "POST") submitted.push(new Headers(init.headers).get("x-fal-target-url") ?? "");
      return fetch(url, init);
    });
    const error = await apiErrorOf(
      counting.subscribe(id, { input: { prompt: "late" }, startTimeout: 1.001, pollInterval: 20 }),
    );
    await release();
    expect(error).toMatchObject({ status: 504, isUserTimeout: true });
    expect(submitted).toHaveLength(1);
  });
});

describe("fal.queue", () => {
  it("cancels what waits, and refuses to cancel what has ended", async () => {
    const release = await keepBusy();
    const { request_id: requestId } = await fal.queue.submit(id, { input: { prompt: "x" } });
    await expect(fal.queue.cancel(id, { requestId })).resolves.toBeUndefined();
    expect(await apiErrorOf(fal.queue.cancel(id, { requestId }))).toMatchObject({ status: 400 });
    expect(await apiErrorOf(fal.queue.result(id, { requestId }))).toMatchObject({ status: 499 });
    await release();
  });

  it("has no result before the end, and none for a request it does not know", async () => {
    const release = await keepBusy();
    const { request_id: requestId } = await fal.queue.submit(id, { input: { prompt: "x" } });
    expect(await apiErrorOf(fal.queue.result(id, { requestId }))).toMatchObject({ status: 400 });
    expect(await apiErrorOf(fal.queue.result(id, { requestId: crypto.randomUUID() }))).toMatchObject({ status: 404 });
    await fal.queue.cancel(id, { requestId });
    await release();
  });

  it("returns the errors of a wrong input as the result", async () => {
    const { request_id: requestId } = await fal.queue.submit(id, { input: { prompt: "" } });
    const error = await apiErrorOf(fal.queue.result(id, { requestId }));
    expect(error).toBeInstanceOf(ValidationError);
    expect((error as ValidationError).getFieldErrors("prompt")).toHaveLength(1);
  });

  it("takes a model with a sub path, which the client leaves out of all later addresses", async () => {
    const model = `${id}/image-to-image`;
    const { request_id: requestId } = await fal.queue.submit(model, { input: { prompt: "x", seed: 4 } });
    await fal.queue.subscribeToStatus(model, { requestId, pollInterval: 20 });
    const { data } = await fal.queue.result(model, { requestId });
    expect(data.seed).toBe(4);
  });

  it("runs low priority after everything else", async () => {
    const release = await keepBusy();
    const low = await fal.queue.submit(id, { input: { prompt: "low" }, priority: "low" });
    const normal = await fal.queue.submit(id, { input: { prompt: "normal" } });
    const position = (requestId: string): Promise<unknown> => fal.queue.status(id, { requestId });
    await eventually(async () => {
      expect(await position(normal.request_id)).toMatchObject({ status: "IN_QUEUE", queue_position: 0 });
      expect(await position(low.request_id)).toMatchObject({ status: "IN_QUEUE", queue_position: 1 });
    });
    for (const { request_id: requestId } of [low, normal]) await fal.queue.cancel(id, { requestId });
    await release();
  });
});

describe("fal.storage", () => {
  it("uploads a file that can be fetched, and one inside an input", async () => {
    const png = await sharp({ create: { width: 8, height: 8, channels: 3, background: "red" } })
      .png()
      .toBuffer();
    const url = await fal.storage.upload(new Blob([png], { type: "image/png" }));
    const response = await fetch(url);
    expect(response.headers.get("content-type")).toBe("image/png");
    expect(Buffer.from(await response.arrayBuffer()).equals(png)).toBe(true);
    const file = new File([png], "red.png", { type: "image/png" });
    const { data } = await fal.run(id, { input: { prompt: "x", image_url: file } });
    expect(data.warnings).toEqual(["the image of 8x8 was scaled to 64x64, which this model can make"]);
  });
});

describe("through a fetch that maps hosts", () => {
  it("subscribes and uploads", async () => {
    const hosts: Readonly<Record<string, string>> = {
      "fal.run": server.url,
      "queue.fal.run": `${server.url}/queue`,
      "rest.fal.ai": `${server.url}/rest`,
    };
    const map = (url: string): string => url.replace(/^https:\/\/([^/]+)/, (all, host: string) => hosts[host] ?? all);
    const direct = createFalClient({
      credentials: "k",
      fetch: (url, init) => fetch(map(url instanceof Request ? url.url : url.toString()), init),
    });
    const { data } = await direct.subscribe(id, { input: { prompt: "x", seed: 8 }, pollInterval: 20 });
    expect(data.seed).toBe(8);
    const url = await direct.storage.upload(new Blob(["text"], { type: "text/plain" }));
    expect(await (await fetch(url)).text()).toBe("text");
  });
});
