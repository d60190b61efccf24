import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fastSdxlResult } from "../../src/dialects/fast-sdxl/schema.ts";
import { dataUri } from "../support/images.ts";
import { resultOf, submit } from "../support/queue.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post, postStream } from "../support/sse.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ worker: "fixture_worker" });
  await server.ready();
});
afterAll(() => server.close());

const run = (input: object, path = "/fal-ai/fast-sdxl"): Promise<Response> => post(server.url + path, input);

describe("POST /fal-ai/fast-sdxl", () => {
  it("answers with every key of that model's shape, the image as a file", async () => {
    const body = await (await run({ prompt: "x", seed: 3, num_images: 2 })).json();
    expect(fastSdxlResult.parse(body)).toEqual(body);
    expect(body).toMatchObject({ seed: 3, prompt: "x", has_nsfw_concepts: [false, false] });
    expect(body.images).toHaveLength(2);
    for (const { url } of body.images) expect((await fetch(url)).headers.get("content-type")).toBe("image/jpeg");
  });

  it("has one image in `images`, in previews too", async () => {
    const { events } = await postStream(`${server.url}/fal-ai/fast-sdxl/stream`, {
      prompt: "x",
      num_inference_steps: 6,
      sync_mode: true,
    });
    expect(events.length).toBeGreaterThan(1);
    for (const event of events)
      expect(event["images"]).toMatchObject([{ url: expect.stringMatching(/^data:image\/jpeg/) }]);
    expect(events.at(-1)).toMatchObject({ has_nsfw_concepts: [false] });
  });

  it("takes 25 steps by default, and numbers as text", async () => {
    const { events } = await postStream(`${server.url}/fal-ai/fast-sdxl/stream`, {
      prompt: "x",
      preview: { every: 50 },
    });
    expect(events[0]).toMatchObject({ preview: { total_steps: 25 } });
    const lightning = await postStream(`${server.url}/fal-ai/fast-lightning-sdxl/stream`, {
      prompt: "x",
      num_inference_steps: "4",
      seed: "9",
    });
    expect(lightning.events[0]).toMatchObject({ preview: { total_steps: 4 }, seed: 9 });
  });

  it.each([
    ["the model's own size when nothing is asked", undefined, [64, 64], 0],
    ["the size that was asked", { width: 128, height: 256 }, [128, 256], 0],
    ["a preset that the model can make", "square", [512, 512], 0],
    ["the shape of a preset that it cannot make", "landscape_4_3", [64, 64], 1],
    ["the nearest multiple of 8", { width: 130, height: 258 }, [128, 256], 1],
    ["the half of a size that is given", { width: 256 }, [256, 512], 0],
  ])("makes %s", async (_, size, [width, height], warnings) => {
    const body = await (await run({ prompt: "x", image_size: size })).json();
    expect(body.images[0]).toMatchObject({ width, height });
    expect(body.warnings.filter((text: string) => text.startsWith("image_size"))).toHaveLength(warnings);
  });

  it("names what it ignores when that would have changed the image, and only then", async () => {
    const body = await (
      await run({
        prompt: "x",
        loras: [{ path: "a" }],
        embeddings: [],
        enable_safety_checker: true,
      })
    ).json();
    expect(body.warnings.map((text: string) => text.split(" ")[0])).toEqual(["loras"]);
  });

  it("takes images of 5 MB along with a request", async () => {
    const noise = { type: "gaussian", mean: 128, sigma: 60 } as const;
    const create = { width: 1_300, height: 1_300, channels: 3, background: "black", noise } as const;
    const imageUrl = dataUri(await sharp({ create }).png().toBuffer());
    expect(imageUrl.length).toBeGreaterThan(5_000_000);
    expect((await run({ prompt: "x", image_url: imageUrl }, "/fal-ai/fast-sdxl/image-to-image")).status).toBe(200);
    expect((await run({ prompt: "x", image_url: imageUrl }, "/local/sdxl")).status).toBe(200);
  });

  it("names the field that is wrong, as text", async () => {
    const response = await run({ prompt: "x", image_size: { width: 0, height: 512 } });
    expect(response.status).toBe(422);
    const { detail } = await response.json();
    expect(detail).toMatchObject([{ loc: ["body", "image_size", "width"] }]);
    expect((await run({})).status).toBe(422);
    expect((await run({ prompt: "x", num_inference_steps: "four" })).status).toBe(422);
  });

  it("keeps its shape through the queue", async () => {
    const reply = await submit(server.url, { prompt: "x", seed: 2 ** 32 + 5 }, { path: "/queue/fal-ai/fast-sdxl" });
    const body = await (await resultOf(reply)).json();
    expect(fastSdxlResult.parse(body)).toMatchObject({ seed: 5, warnings: [expect.stringContaining("seed")] });
    expect((await fetch(body.images[0].url)).status).toBe(200);
  });
});
