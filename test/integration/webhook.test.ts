import { createHash, createPublicKey, verify } from "node:crypto";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pino from "pino";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { SigningKey } from "../../src/requests/webhook-key.ts";
import { SqliteStore } from "../../src/storage/sqlite-store.ts";
import { WebhookSender } from "../../src/requests/webhooks.ts";
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
  it("tells the result that the request answers", async () => {
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

  it("tells what went wrong", async () => {
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

  it.each(["file:///etc/passwd", "ftp://127.0.0.1/x", "http://user:pass@127.0.0.1/", "nonsense"])(
    "to %s is refused at once, and nothing is kept",
    async (url) => {
      const response = await post(`${server.url}/queue/local/sdxl?fal_webhook=${encodeURIComponent(url)}`, {
        prompt: "x",
      });
      expect([response.status, await response.json()]).toMatchObject([
        422,
        { detail: [{ loc: ["query", "fal_webhook"] }] },
      ]);
      const id = response.headers.get("x-fal-request-id");
      expect((await fetch(`${server.url}/requests/${id}/status`)).status).toBe(404);
    },
  );
});

describe("the sender of webhooks", () => {
  let dataDir: string;
  let store: SqliteStore;
  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), "latentcast-data-"));
    store = await SqliteStore.open({ dataDir, limitBytes: 2 ** 20, keepMs: 3_600_000 });
  });
  afterEach(async () => {
    await store.close();
    await rm(dataDir, { recursive: true, force: true });
  });

  async function sender(pausesMs: readonly number[]): Promise<WebhookSender> {
    return new WebhookSender({ store, key: await SigningKey.open(dataDir), log: pino({ level: "silent" }), pausesMs });
  }

  async function endedRequest(webhookUrl: string): Promise<string> {
    const id = "request";
    const request = {
      id,
      app: "",
      dialect: "latentcast",
      baseUrl: "http://x",
      input: null,
      warnings: [],
      traceparent: null,
      priority: "normal",
      acceptedAtMs: 1,
      startByMs: null,
      webhookUrl,
    } as const;
    const ending = { endedAtMs: Date.now(), error: null, inferenceMs: 1, logs: [] };
    await store.accept(request, { ending, answer: { status: 200, headers: {}, body: Buffer.from('{"seed":1}') } });
    return id;
  }

  it("tries again after each pause until it is heard, and not after that", async () => {
    let failures = 3;
    await using receiver = await receiveWebhooks((response) => {
      failures -= 1;
      response.writeHead(failures >= 0 ? 503 : 204).end();
    });
    const webhooks = await sender([1, 1, 1, 1, 1]);
    webhooks.schedule(await endedRequest(receiver.url), receiver.url);
    await eventually(async () => expect(await store.pendingWebhooks()).toEqual([]));
    expect(receiver.deliveries).toHaveLength(4);
    expect(new Set(receiver.deliveries.map(({ body }) => body)).size).toBe(1);
    webhooks.stop();
  });

  it("gives up after the last pause", async () => {
    await using receiver = await receiveWebhooks((response) => void response.writeHead(500).end());
    const webhooks = await sender([1, 1]);
    webhooks.schedule(await endedRequest(receiver.url), receiver.url);
    await eventually(async () => expect(await store.pendingWebhooks()).toEqual([]));
    expect(receiver.deliveries).toHaveLength(3);
    webhooks.stop();
  });

  it("follows no redirect", async () => {
    await using target = await receiveWebhooks();
    await using receiver = await receiveWebhooks(
      (response) => void response.writeHead(307, { location: target.url }).end(),
    );
    const webhooks = await sender([]);
    webhooks.schedule(await endedRequest(receiver.url), receiver.url);
    await eventually(async () => expect(await store.pendingWebhooks()).toEqual([]));
    expect(target.deliveries).toEqual([]);
    webhooks.stop();
  });

  it("keeps what it could not deliver for the next server", async () => {
    const id = await endedRequest("http://127.0.0.1:9/");
    const first = await sender([3_600_000]);
    first.schedule(id, "http://127.0.0.1:9/");
    await eventually(async () => expect(await store.pendingWebhooks()).toMatchObject([{ attempts: 1 }]));
    first.stop();
    // However long a request is kept otherwise: until its webhook is settled it stays.
    await store.expire(Date.now() + 10 * 3_600_000);
    await using receiver = await receiveWebhooks();
    await store.noteDelivery(id, 1, 0);
    const [pending] = await store.pendingWebhooks();
    const second = await sender([]);
    second.schedule(id, receiver.url);
    expect(pending).toMatchObject({ id, attempts: 1, dueAtMs: 0 });
    await delivered(receiver.deliveries);
    second.stop();
  });

  it("has a key that only its owner can read, the same at every start", async () => {
    const [first, second] = [await SigningKey.open(dataDir), await SigningKey.open(dataDir)];
    expect(second.publicKeys).toEqual(first.publicKeys);
    expect((await stat(join(dataDir, "webhook-key.pem"))).mode & 0o777).toBe(0o600);
  });
});
