import { createHash, createPublicKey, verify } from "node:crypto";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { SigningKey } from "../../src/requests/webhook-key.ts";
import { openStorage, type Storage } from "../../src/storage/open.ts";
import type { RequestStore } from "../../src/storage/request-store.ts";
import { dialectNamed } from "../../src/dialects/registry.ts";
import { WebhookSender } from "../../src/requests/webhooks.ts";
import { request } from "../contract/store-under-test.ts";
import { eventually } from "../support/eventually.ts";
import { resultOf, submit } from "../support/queue.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post } from "../support/sse.ts";
import { receiveWebhooks, type Delivery } from "../support/webhook-receiver.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ worker: "fixture_worker" });
  await server.ready();
});
afterAll(() => server.close());

const submitWith = (url: string, input: object) =>
  submit(server.url, input, { path: `/queue/local/sdxl?fal_webhook=${encodeURIComponent(url)}` });

async function delivered(deliveries: readonly Delivery[], count = 1): Promise<Record<string, unknown>> {
  await eventually(() => expect(deliveries.length).toBeGreaterThanOrEqual(count));
  return JSON.parse(deliveries[count - 1]!.body);
}

describe("a webhook", () => {
  it("has the result that the request returns", async () => {
    await using receiver = await receiveWebhooks();
    const reply = await submitWith(`${receiver.url}/here?token=1`, { prompt: "x", seed: 4 });
    const body = await delivered(receiver.deliveries);
    expect(body).toEqual({
      request_id: reply.request_id,
      gateway_request_id: reply.request_id,
      status: "OK",
      error: null,
      payload: await (await resultOf(reply)).json(),
    });
    expect(receiver.deliveries[0]?.path).toBe("/here?token=1");
  });

  it("has the error of a request that failed", async () => {
    await using receiver = await receiveWebhooks();
    await submitWith(receiver.url, { prompt: "" });
    expect(await delivered(receiver.deliveries)).toMatchObject({
      status: "ERROR",
      error: "Invalid status code: 422",
      payload: { detail: [{ loc: ["body", "prompt"] }] },
    });
  });

  it("is signed with the key that the server publishes", async () => {
    await using receiver = await receiveWebhooks();
    await submitWith(receiver.url, { prompt: "x" });
    await delivered(receiver.deliveries);
    const { headers, body } = receiver.deliveries[0]!;
    const message = [
      headers["x-fal-webhook-request-id"],
      headers["x-fal-webhook-user-id"],
      headers["x-fal-webhook-timestamp"],
      createHash("sha256").update(body).digest("hex"),
    ].join("\n");
    const { keys } = await (await fetch(`${server.url}/.well-known/jwks.json`)).json();
    const key = createPublicKey({ key: keys[0], format: "jwk" });
    const signature = Buffer.from(String(headers["x-fal-webhook-signature"]), "hex");
    expect(verify(null, Buffer.from(message), key, signature)).toBe(true);
    expect(verify(null, Buffer.from(`${message}x`), key, signature)).toBe(false);
    expect(Math.abs(Number(headers["x-fal-webhook-timestamp"]) - Date.now() / 1_000)).toBeLessThan(300);
  });

  it.each([
    "file:///etc/passwd",
    "ftp://127.0.0.1/x",
    "http://user:pass@127.0.0.1/",
    "nonsense",
    "http://169.254.169.254/latest/meta-data",
    "http://[::ffff:a9fe:a9fe]/",
    "http://2852039166/",
    "http://0251.0376.0251.0376/",
    "http://[fe80::1]/",
    "http://0.0.0.0/",
    "http://224.0.0.1/",
    "http://127.0.0.1:6000/",
  ])("to %s is refused at once, and nothing is kept", async (url) => {
    const response = await post(`${server.url}/queue/local/sdxl?fal_webhook=${encodeURIComponent(url)}`, {
      prompt: "x",
    });
    expect([response.status, await response.json()]).toMatchObject([
      422,
      { detail: [{ loc: ["query", "fal_webhook"] }] },
    ]);
    const id = response.headers.get("x-fal-request-id");
    expect((await fetch(`${server.url}/requests/${id}/status`)).status).toBe(404);
  });
});

describe("the sender of webhooks", () => {
  let dataDir: string;
  let storage: Storage;
  let store: RequestStore;
  let monotonicMs = 0;
  const open = (): Promise<Storage> =>
    openStorage({ dataDir, limitBytes: 2 ** 20, keepMs: 3_600_000, monotonicMs: () => monotonicMs });
  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), "latentcast-data-"));
    storage = await open();
    store = storage.requests;
  });
  afterEach(async () => {
    await storage.close();
    await rm(dataDir, { recursive: true, force: true });
  });

  /** Returns what ends it. */
  async function startSender(pausesMs: readonly number[], allowPrivate = true): Promise<AbortController> {
    const log = pino({ level: "silent" });
    const closing = new AbortController();
    const key = await SigningKey.open(dataDir);
    const dialect = dialectNamed;
    new WebhookSender({ store, key, dialect, log, closing: closing.signal, allowPrivate, pausesMs }).start();
    return closing;
  }

  async function acceptEnded(webhookUrl: string): Promise<void> {
    const result = { endedAtMs: Date.now(), error: null, inferenceMs: 1, logs: [] };
    await store.accept(request("1", { webhookUrl }), { result, body: Buffer.from('{"seed":1}') });
  }

  /** Settled requests are forgotten when their time is over, others are not. */
  async function isSettled(): Promise<void> {
    monotonicMs += 10 * 3_600_000;
    await eventually(async () => {
      await store.expire();
      expect(await store.find("1")).toBeUndefined();
    });
  }

  it("tries again after each pause until one delivery succeeds", async () => {
    let failures = 3;
    await using receiver = await receiveWebhooks((response) => {
      failures -= 1;
      response.writeHead(failures >= 0 ? 503 : 204).end();
    });
    await acceptEnded(receiver.url);
    const webhooks = await startSender([0, 0, 0, 0, 0]);
    await isSettled();
    expect(receiver.deliveries).toHaveLength(4);
    expect(new Set(receiver.deliveries.map(({ body }) => body)).size).toBe(1);
    webhooks.abort();
  });

  it("gives up after the last pause", async () => {
    await using receiver = await receiveWebhooks((response) => void response.writeHead(500).end());
    await acceptEnded(receiver.url);
    const webhooks = await startSender([0, 0]);
    await isSettled();
    expect(receiver.deliveries).toHaveLength(3);
    webhooks.abort();
  });

  it("does not follow redirects", async () => {
    await using target = await receiveWebhooks();
    await using receiver = await receiveWebhooks(
      (response) => void response.writeHead(307, { location: target.url }).end(),
    );
    await acceptEnded(receiver.url);
    const webhooks = await startSender([]);
    await isSettled();
    expect(target.deliveries).toEqual([]);
    webhooks.abort();
  });

  it("does not call private addresses without permission, although the request was accepted with it", async () => {
    await using receiver = await receiveWebhooks();
    await acceptEnded(receiver.url);
    const webhooks = await startSender([], false);
    await isSettled();
    expect(receiver.deliveries).toEqual([]);
    webhooks.abort();
  });

  it("leaves failed deliveries to the next server", async () => {
    let isDown = true;
    await using receiver = await receiveWebhooks((response) => void response.writeHead(isDown ? 503 : 200).end());
    await acceptEnded(receiver.url);
    const first = await startSender([3_600_000]);
    await eventually(() => expect(receiver.deliveries).toHaveLength(1));
    first.abort();
    await storage.close();
    // However long a request is kept otherwise: until its webhook is settled it stays.
    monotonicMs += 10 * 3_600_000;
    storage = await open();
    store = storage.requests;
    monotonicMs += 3_600_000;
    await store.expire();
    isDown = false;
    const second = await startSender([]);
    await delivered(receiver.deliveries, 2);
    await isSettled();
    second.abort();
  });

  it("has a key that only its owner can read, the same at every start", async () => {
    const [first, second] = [await SigningKey.open(dataDir), await SigningKey.open(dataDir)];
    expect(second.publicKeys).toEqual(first.publicKeys);
    expect((await stat(join(dataDir, "webhook-key.pem"))).mode & 0o777).toBe(0o600);
  });
});
