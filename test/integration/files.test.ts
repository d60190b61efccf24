import { createHash } from "node:crypto";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { submit } from "../support/queue.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post, postStream } from "../support/sse.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({
    worker: "fixture_worker",
    env: { LATENTCAST_API_KEYS: "secret", LATENTCAST_BODY_LIMIT_BYTES: String(8 * 2 ** 20) },
  });
  await server.ready();
});
afterAll(() => server.close());

const json = { "content-type": "application/json", authorization: "Key secret" };
const sha256 = (bytes: ArrayBuffer | Buffer): string =>
  createHash("sha256")
    .update(Buffer.from(bytes as Buffer))
    .digest("hex");

async function makeFile(): Promise<string> {
  const body = await (await post(server.url, { prompt: "x", sync_mode: false }, { headers: json })).json();
  return body.image.url;
}

describe("an image with sync_mode false", () => {
  it("is a file that anybody who knows its name can fetch, and never changes", async () => {
    const url = await makeFile();
    expect(url).toMatch(new RegExp(`^${server.url}/files/[\\w-]{24}\\.jpg$`));
    const response = await fetch(url);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("image/jpeg");
    expect(response.headers.get("cache-control")).toMatch(/^public, max-age=\d+, immutable$/);
    expect(Date.parse(response.headers.get("expires")!)).toBeGreaterThan(Date.now());
    const bytes = Buffer.from(await response.arrayBuffer());
    expect(Number(response.headers.get("content-length"))).toBe(bytes.byteLength);
    expect(await sharp(bytes).metadata()).toMatchObject({ format: "jpeg", width: 64 });
  });

  it("is not sent again to a client that has it, nor for HEAD", async () => {
    const url = await makeFile();
    const etag = (await fetch(url)).headers.get("etag")!;
    for (const known of [etag, `W/${etag}`, `"other", W/${etag}`, "*"])
      expect((await fetch(url, { headers: { "if-none-match": known } })).status).toBe(304);
    expect((await fetch(url, { headers: { "if-none-match": '"other"' } })).status).toBe(200);
    const head = await fetch(url, { method: "HEAD" });
    expect([head.status, (await head.arrayBuffer()).byteLength]).toEqual([200, 0]);
    expect(Number(head.headers.get("content-length"))).toBeGreaterThan(0);
  });

  it("is a file in a stream's result and in a queued one too, while previews stay inline", async () => {
    const { events } = await postStream(`${server.url}/stream`, { prompt: "x", sync_mode: false }, { headers: json });
    expect(events[0]).toMatchObject({ image: { url: expect.stringMatching(/^data:image\/jpeg/) } });
    expect(events.at(-1)).toMatchObject({ image: { url: expect.stringMatching(/^http.*\/files\//) } });
  });

  it("is a data URI without it", async () => {
    const body = await (await post(server.url, { prompt: "x" }, { headers: json })).json();
    expect(body.image.url).toMatch(/^data:image\/jpeg;base64,/);
  });
});

describe("an upload", () => {
  const initiate = async (contentType: string) =>
    (
      await post(
        `${server.url}/rest/storage/upload/initiate?storage_type=fal-cdn-v3`,
        { content_type: contentType, file_name: "a" },
        { headers: json },
      )
    ).json();

  it("takes any bytes of any type without a key, once, and gives them back", async () => {
    const bytes = Buffer.alloc(5_000_000, "latentcast");
    const { upload_url: uploadUrl, file_url: fileUrl } = await initiate("image/png");
    const put = await fetch(uploadUrl, { method: "PUT", body: bytes, headers: { "content-type": "image/png" } });
    expect([put.status, await put.json()]).toEqual([200, {}]);
    const back = await fetch(fileUrl);
    expect(back.headers.get("content-type")).toBe("image/png");
    expect(sha256(await back.arrayBuffer())).toBe(sha256(bytes));
    expect((await fetch(uploadUrl, { method: "PUT", body: "again" })).status).toBe(403);
    expect(sha256(await (await fetch(fileUrl)).arrayBuffer())).toBe(sha256(bytes));
  });

  it("is refused without permission, with another type, or too large, and leaves nothing", async () => {
    const { upload_url: uploadUrl, file_url: fileUrl } = await initiate("image/png");
    expect((await fetch(fileUrl, { method: "PUT", body: "x" })).status).toBe(403);
    expect((await fetch(uploadUrl.replace("image%2Fpng", "text%2Fhtml"), { method: "PUT", body: "x" })).status).toBe(
      403,
    );
    const large = await fetch(uploadUrl, { method: "PUT", body: Buffer.alloc(9 * 2 ** 20) }).catch(
      (error: unknown) => error,
    );
    expect(large instanceof Response ? large.status : "closed").toSatisfy(
      (outcome) => outcome === 413 || outcome === "closed",
    );
    expect((await fetch(fileUrl)).status).toBe(404);
  });

  it("never becomes a page of this server", async () => {
    const { upload_url: uploadUrl, file_url: fileUrl } = await initiate("text/html");
    await fetch(uploadUrl, { method: "PUT", body: "<script>alert(1)</script>" });
    const page = await fetch(fileUrl);
    expect(page.headers.get("content-disposition")).toBe("attachment");
    expect(page.headers.get("x-content-type-options")).toBe("nosniff");
    expect(page.headers.get("content-security-policy")).toContain("sandbox");
  });

  it("needs a key to be asked for, and a media type that is one", async () => {
    const path = `${server.url}/rest/storage/upload/initiate`;
    expect((await post(path, {})).status).toBe(401);
    expect((await post(path, { content_type: "a\r\nb" }, { headers: json })).status).toBe(422);
  });

  it("in parts is answered 501", async () => {
    const response = await post(`${server.url}/rest/storage/upload/initiate-multipart`, {}, { headers: json });
    expect([response.status, await response.json()]).toMatchObject([501, { error_type: "not_implemented" }]);
  });
});

describe("unknown names", () => {
  it.each(["nothing", "..%2Flock.db", "..%2F..%2Fetc%2Fpasswd", "%2e%2e%2fqueue.db"])(
    "are not found: %s",
    async (name) => {
      expect((await fetch(`${server.url}/files/${name}`)).status).toBe(404);
    },
  );

  it("do not lead to stored responses either", async () => {
    const input = { prompt: "x", num_images: 4, width: 512, height: 512, output_format: "png" };
    const reply = await submit(server.url, input, { headers: json });
    const known = { headers: json };
    const status = async () => (await fetch(reply.status_url, known)).status;
    while ((await status()) !== 200) await new Promise((resolve) => setTimeout(resolve, 20));
    expect((await fetch(reply.response_url, known)).status).toBe(200);
    expect((await fetch(reply.response_url)).status).toBe(401);
    expect((await fetch(`${server.url}/files/${reply.request_id}`)).status).toBe(404);
  });
});
