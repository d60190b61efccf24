/** A request belongs to the API key that it came with. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { submit } from "../support/queue.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post } from "../support/sse.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ worker: "one_at_a_time", env: { LATENTCAST_API_KEYS: "mine,theirs" } });
  await server.ready();
});
afterAll(() => server.close());

const key = (name: string): Record<string, string> => ({
  "content-type": "application/json",
  authorization: `Key ${name}`,
});

const paths = ["", "/response", "/status", "/status/stream", "/events"];

describe("a request of another key", () => {
  it("does not exist while it runs, and cannot be cancelled", async () => {
    const { request_id: id } = await submit(
      server.url,
      { prompt: "slow", num_inference_steps: 50 },
      { headers: key("mine") },
    );
    const address = `${server.url}/requests/${id}`;
    const theirs = { headers: key("theirs") };
    for (const path of paths) {
      const response = await fetch(address + path, theirs);
      expect([path, response.status, (await response.json()).error_type]).toEqual([path, 404, "not_found"]);
    }
    for (const method of ["PUT", "POST"]) {
      const cancel = await fetch(`${address}/cancel`, { ...theirs, method, body: "{}" });
      expect([cancel.status, await cancel.json()]).toMatchObject([404, { status: "NOT_FOUND" }]);
    }
    expect((await fetch(`${address}/status`, { headers: key("mine") })).status).toBe(202);
    expect((await fetch(`${address}/cancel`, { headers: key("mine"), method: "PUT", body: "{}" })).status).toBe(202);
  });

  it("does not exist after its end, while its files can be read by name", async () => {
    const input = { prompt: "x", sync_mode: false };
    const { request_id: id } = await submit(server.url, input, { headers: key("mine") });
    const address = `${server.url}/requests/${id}`;
    await eventually(async () => expect((await fetch(address, { headers: key("mine") })).status).toBe(200));
    for (const path of paths) expect((await fetch(address + path, { headers: key("theirs") })).status).toBe(404);
    const { image } = await (await fetch(address, { headers: key("mine") })).json();
    expect((await fetch(image.url)).status).toBe(200);
  });

  it("gets the same response as a request that never existed", async () => {
    const { request_id: id } = await submit(server.url, { prompt: "x" }, { headers: key("mine") });
    const theirs = { headers: key("theirs") };
    const [real, none] = await Promise.all(
      [id, "00000000-0000-4000-8000-000000000000"].map((name) =>
        fetch(`${server.url}/requests/${name}/status`, theirs),
      ),
    );
    expect(await real?.json()).toEqual(await none?.json());
  });

  it("is found with the same key however it was sent", async () => {
    const { request_id: id } = await submit(server.url, { prompt: "x" }, { headers: key("mine") });
    const headers = { authorization: "Bearer mine" };
    expect((await fetch(`${server.url}/requests/${id}/status`, { headers })).ok).toBe(true);
  });
});

describe("webhooks of a server with keys", () => {
  it.each(["http://127.0.0.1:8080/", "http://localhost/", "http://10.0.0.1/", "http://[fd00::1]/"])(
    "go to no private address: %s",
    async (url) => {
      const path = `${server.url}/queue/local/sdxl?fal_webhook=${encodeURIComponent(url)}`;
      const response = await post(path, { prompt: "x" }, { headers: key("mine") });
      expect([response.status, await response.json()]).toMatchObject([
        422,
        { detail: [{ loc: ["query", "fal_webhook"] }] },
      ]);
    },
  );

  it("go to private addresses when the setting allows it", async () => {
    await using open = await startTestServer({
      worker: "fixture_worker",
      env: { LATENTCAST_API_KEYS: "mine", LATENTCAST_ALLOW_PRIVATE_WEBHOOKS: "1" },
    });
    const path = `${open.url}/queue/local/sdxl?fal_webhook=${encodeURIComponent("http://127.0.0.1:8080/")}`;
    expect((await post(path, { prompt: "x" }, { headers: key("mine") })).status).toBe(200);
  });
});
