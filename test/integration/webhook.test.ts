import { createHash, createPublicKey, verify } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
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
