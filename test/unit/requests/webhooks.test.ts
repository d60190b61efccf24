/** The sender with a real store and real receivers on loopback. */
import pino from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { latentcastDialect } from "../../../src/dialects/latentcast/dialect.ts";
import { SigningKey } from "../../../src/requests/webhook-key.ts";
import { WebhookSender } from "../../../src/requests/webhooks.ts";
import { request } from "../../contract/store-under-test.ts";
import { eventually } from "../../support/eventually.ts";
import { openSqliteStore, type SqliteStoreUnderTest } from "../../support/sqlite-store.ts";
import { receiveWebhooks } from "../../support/webhook-receiver.ts";

const HOUR_MS = 3_600_000;

let store: SqliteStoreUnderTest;
let closing: AbortController;
beforeEach(async () => {
  store = await openSqliteStore();
  closing = new AbortController();
});
afterEach(async () => {
  closing.abort();
  await store[Symbol.asyncDispose]();
});

async function startSender(pausesMs: readonly number[], allowPrivate = true): Promise<void> {
  closing = new AbortController();
  const sender = new WebhookSender({
    store: store.requests,
    key: await SigningKey.open(store.dataDir),
    dialect: () => latentcastDialect,
    log: pino({ level: "silent" }),
    closing: closing.signal,
    allowPrivate,
    pausesMs,
  });
  sender.start();
}

async function acceptEnded(webhookUrl: string, id = "1"): Promise<void> {
  const result = { endedAtMs: 1, error: null, inferenceMs: 1, logs: [] };
  await store.requests.accept(request(id, { webhookUrl }), { result, body: Buffer.from('{"seed":1}') });
}

/** A request is forgotten when its time is over and its webhook is settled, not before. */
async function isSettled(id = "1"): Promise<void> {
  store.advance(10 * HOUR_MS);
  await eventually(async () => {
    await store.requests.expire();
    expect(await store.requests.find(id)).toBeUndefined();
  });
}

describe("the sender of webhooks", () => {
  it("tries again after each pause until one delivery succeeds", async () => {
    let failures = 3;
    await using receiver = await receiveWebhooks((response) => {
      failures -= 1;
      response.writeHead(failures >= 0 ? 503 : 204).end();
    });
    await acceptEnded(receiver.url);
    await startSender([0, 0, 0, 0, 0]);
    await isSettled();
    expect(receiver.deliveries).toHaveLength(4);
    expect(new Set(receiver.deliveries.map(({ body }) => body)).size).toBe(1);
  });

  it("gives up after the last pause", async () => {
    await using receiver = await receiveWebhooks((response) => void response.writeHead(500).end());
    await acceptEnded(receiver.url);
    await startSender([0, 0]);
    await isSettled();
    expect(receiver.deliveries).toHaveLength(3);
  });

  it("does not follow redirects", async () => {
    await using target = await receiveWebhooks();
    await using receiver = await receiveWebhooks(
      (response) => void response.writeHead(307, { location: target.url }).end(),
    );
    await acceptEnded(receiver.url);
    await startSender([]);
    await isSettled();
    expect(target.deliveries).toEqual([]);
  });

  it("does not call private addresses without permission, although the request was accepted with it", async () => {
    await using receiver = await receiveWebhooks();
    await acceptEnded(receiver.url);
    await startSender([], false);
    await isSettled();
    expect(receiver.deliveries).toEqual([]);
  });

  it("delivers to others while one receiver does not respond", async () => {
    await using slow = await receiveWebhooks(() => undefined);
    await using other = await receiveWebhooks();
    await acceptEnded(slow.url, "1");
    await acceptEnded(other.url, "2");
    await startSender([]);
    await eventually(() => expect(slow.deliveries).toHaveLength(1));
    await isSettled("2");
    expect(await store.requests.find("1")).toBeDefined();
  });

  it("leaves failed deliveries to the next server", async () => {
    let isDown = true;
    await using receiver = await receiveWebhooks((response) => void response.writeHead(isDown ? 503 : 200).end());
    await acceptEnded(receiver.url);
    await startSender([HOUR_MS]);
    await eventually(() => expect(receiver.deliveries).toHaveLength(1));
    closing.abort();
    // However long a request is kept otherwise: until its webhook is settled it stays.
    store.advance(10 * HOUR_MS);
    await store.restart("orderly");
    await store.requests.expire();
    isDown = false;
    await startSender([]);
    await eventually(() => expect(receiver.deliveries).toHaveLength(2));
    await isSettled();
  });

  it("leaves a delivery that the end interrupts to the next server, and does not count it", async () => {
    let deliveries = 0;
    await using receiver = await receiveWebhooks((response) => {
      deliveries += 1;
      if (deliveries > 1) response.end();
    });
    await acceptEnded(receiver.url);
    await startSender([]);
    await eventually(() => expect(receiver.deliveries).toHaveLength(1));
    closing.abort();
    await store.restart("orderly");
    const { signal } = new AbortController();
    expect(await store.requests.nextWebhook(signal)).toMatchObject({ id: "1", attempts: 0 });
    await store.restart("orderly");
    await startSender([]);
    await eventually(() => expect(receiver.deliveries).toHaveLength(2));
    await isSettled();
  });

  it("sends an error in the shape of the request's dialect", async () => {
    await using receiver = await receiveWebhooks();
    const error = { code: "cancelled" as const, message: "The request was cancelled.", fields: [] };
    const result = { endedAtMs: 1, error, inferenceMs: null, logs: [] };
    const body = Buffer.alloc(0);
    await store.requests.accept(request("1", { webhookUrl: receiver.url }), { result, body });
    await startSender([]);
    await isSettled();
    expect(JSON.parse(receiver.deliveries[0]?.body ?? "")).toMatchObject({
      status: "ERROR",
      error: "Invalid status code: 499",
      payload: { detail: error.message, error_type: "cancelled" },
    });
  });
});
