/** Images that requests start from: what waits holds a bounded amount of memory, and what is elsewhere is fetched only where it may be. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { dataUri, twoColours } from "../support/images.ts";
import { resultOf, statusOf, submit } from "../support/queue.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post } from "../support/sse.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({
    worker: "one_at_a_time",
    env: { LATENTCAST_INPUT_LIMIT_BYTES: String(2 ** 20), LATENTCAST_FETCH_IMAGES: "1" },
  });
  await server.ready();
});
afterAll(() => server.close());

/** 786,432 bytes as pixels: the limit has room for one of them. */
async function large(prompt: string): Promise<object> {
  return {
    prompt,
    image_url: dataUri(await twoColours(512, 512, "red", "blue")),
    width: 512,
    height: 512,
    num_inference_steps: 50,
    strength: 1,
    preview: false,
  };
}

describe("the images of unfinished requests", () => {
  it("are refused as a full queue refuses, until others have ended", async () => {
    const first = await submit(server.url, await large("slow"));
    await eventually(async () => expect(await statusOf(first)).toMatchObject({ status: "IN_PROGRESS" }));
    for (const path of ["/", "/stream", "/queue"]) {
      const refused = await post(`${server.url}${path}`, await large("x"));
      expect(refused.status).toBe(429);
      expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
      expect(await refused.json()).toMatchObject({ error_type: "queue_full" });
    }
    const withoutImage = await submit(server.url, { prompt: "x", num_inference_steps: 1 });
    await fetch(first.cancel_url, { method: "PUT" });
    expect((await resultOf(withoutImage)).status).toBe(200);
    expect((await post(`${server.url}/`, { ...(await large("x")), num_inference_steps: 1 })).status).toBe(200);
  });
});

describe("an image elsewhere, where such are fetched", () => {
  it.each([
    ["an address that is not https", "http://example.com/a.png"],
    ["a loopback address", "https://127.0.0.1/a.png"],
    ["a name of this machine", "https://localhost/a.png"],
    ["a private address", "https://10.0.0.1/a.png"],
    ["the metadata service", "https://169.254.169.254/latest/meta-data"],
    ["another port", "https://example.com:6379/a.png"],
    ["a user", "https://user:secret@example.com/a.png"],
  ])("is refused by name: %s", async (_, address) => {
    for (const input of [
      { image_url: address },
      { image_url: dataUri(await twoColours(8, 8, "red", "red")), mask_url: address },
    ]) {
      const response = await post(`${server.url}/`, { prompt: "x", ...input });
      expect(response.status).toBe(422);
      expect(await response.json()).toMatchObject({
        detail: [{ loc: ["body", "mask_url" in input ? "mask_url" : "image_url"], type: "unfetchable_image" }],
      });
    }
  });
});
