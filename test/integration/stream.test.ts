import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post, postStream } from "../support/sse.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ worker: "fixture_worker" });
  await server.ready();
});
afterAll(() => server.close());

function bytesOf(url: string): Buffer {
  return Buffer.from(url.slice(url.indexOf(",") + 1), "base64");
}

describe("POST /", () => {
  it("returns the image, its seed and the prompt", async () => {
    const response = await post(server.url, { prompt: "x", seed: 7, width: 64, height: 96 });
    const body = await response.json();
    expect(response.status).toBe(200);
    expect(response.headers.get("x-fal-request-id")).toMatch(/^[0-9a-f-]{36}$/);
    expect(body).toMatchObject({
      seed: 7,
      prompt: "x",
      warnings: [],
      image: { content_type: "image/jpeg", width: 64, height: 96 },
    });
    const { data } = await sharp(bytesOf(body.image.url)).raw().toBuffer({ resolveWithObject: true });
    expect([data[0], data[1], data[2]].map((value, index) => Math.abs((value ?? 0) - [7, 0, 128][index]!) < 6)).toEqual(
      [true, true, true],
    );
  });

  it.each(["jpeg", "png", "webp", "avif"])("makes %s with what made it written inside", async (format) => {
    const body = await (await post(server.url, { prompt: "a \u{1f305} boat", seed: 3, output_format: format })).json();
    expect(body.image.content_type).toBe(`image/${format}`);
    const metadata = await sharp(bytesOf(body.image.url)).metadata();
    expect(metadata.format).toBe(format === "avif" ? "heif" : format);
    expect(metadata.exif?.toString("latin1")).toContain('"seed":3');
  });

  it("makes several images with consecutive seeds that wrap around", async () => {
    const body = await (
      await post(server.url, { prompt: "x", seed: 2 ** 32 - 1, num_images: 2, output_format: "png" })
    ).json();
    expect(body.images).toHaveLength(2);
    const [first, second] = await Promise.all(
      body.images.map(({ url }: { url: string }) => sharp(bytesOf(url)).raw().toBuffer()),
    );
    expect([first?.[0], second?.[0]]).toEqual([255, 0]);
  });

  it("picks a seed and returns it", async () => {
    const seeds = await Promise.all(
      [1, 2].map(async () => (await (await post(server.url, { prompt: "x", seed: null })).json()).seed),
    );
    expect(seeds[0]).not.toBe(seeds[1]);
  });

  it("names fields it does not know", async () => {
    const body = await (await post(server.url, { prompt: "x", colour: "red", embeddings: [] })).json();
    expect(body.warnings).toEqual(['unknown field "colour" was ignored', 'unknown field "embeddings" was ignored']);
  });
});

describe("POST /stream", () => {
  it("sends a preview after every fifth step and the result last", async () => {
    const { events, headers, broken } = await postStream(`${server.url}/stream`, {
      prompt: "x",
      seed: 1,
      num_inference_steps: 20,
    });
    expect(broken).toBeUndefined();
    expect(headers.get("content-type")).toContain("text/event-stream");
    expect(headers.get("x-fal-request-id")).toBeTruthy();
    expect(events.slice(0, -1).map((event) => event["preview"])).toEqual(
      [0, 5, 10, 15].map((step) => ({ step, total_steps: 20, progress: (step + 1) / 20 })),
    );
    expect(events.at(-1)).toMatchObject({ seed: 1, prompt: "x", image: { width: 64 } });
    expect(events.at(-1)).not.toHaveProperty("preview");
  });

  it("ends with exactly the shape of POST /", async () => {
    const input = { prompt: "x", seed: 5 };
    const { events } = await postStream(`${server.url}/stream`, input);
    const answered = await (await post(server.url, input)).json();
    expect({ ...events.at(-1), timings: null }).toEqual({ ...answered, timings: null });
  });

  it("writes nothing that breaks fal's clients", async () => {
    const { raw } = await postStream(`${server.url}/stream`, { prompt: "\u65e5\u6ca1 \u2028 \u{1f305}", seed: 5 });
    expect(raw).not.toMatch(/^(id|retry|event):|\[DONE\]/m);
    expect(raw).toMatch(/^[\x00-\x7f]*$/);
    expect(raw.endsWith("\n\n")).toBe(true);
    // An empty line after a comment is an event without data to some readers.
    expect(raw).toMatch(/^: welcome\n(?!\n)/);
    for (const line of raw.split("\n"))
      expect(line === "" || line.startsWith(": ") || line.startsWith("data: {")).toBe(true);
  });

  it("sends no previews when asked for none", async () => {
    const { events } = await postStream(`${server.url}/stream`, { prompt: "x", preview: false });
    expect(events).toHaveLength(1);
  });

  it("draws no further step when the client leaves", async () => {
    // Its first step lasts until it is cancelled.
    await using held = await startTestServer({ worker: "pause_before_preview" });
    await held.ready();
    const leave = new AbortController();
    const response = await post(`${held.url}/stream`, { prompt: "until never" }, { signal: leave.signal });
    await response.body!.getReader().read();
    await eventually(() => expect(held.jobs.snapshot().workers[0]!.jobs).toBe(1));
    leave.abort();
    await eventually(() => expect(held.jobs.snapshot().counters.cancelled).toBe(1));
    await eventually(() => expect(held.jobs.snapshot().workers[0]!.jobs).toBe(0));
    // The fixture's step takes 20 ms.
    expect(held.jobs.snapshot().counters.cancelled_device_seconds).toBeLessThanOrEqual(0.02);
  });
});
