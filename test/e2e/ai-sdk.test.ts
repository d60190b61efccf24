/** Vercel's AI SDK with its own fal provider, as both come from npm. */
import { createFal } from "@ai-sdk/fal";
import { APICallError, generateImage } from "ai";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestServer, type TestServer } from "../support/server.ts";

let server: TestServer;
let fal: ReturnType<typeof createFal>;
beforeAll(async () => {
  server = await startTestServer({ worker: "fixture_worker" });
  await server.ready();
  fal = createFal({ apiKey: "k", baseURL: server.url });
});
afterAll(() => server.close());

const model = "fal-ai/fast-sdxl";

describe("generateImage", () => {
  it.each([false, true])("gets an image when syncMode is %s", async (inline) => {
    const { image, warnings } = await generateImage({
      model: fal.image(model),
      prompt: "x",
      size: "128x64",
      seed: 7,
      providerOptions: { fal: { syncMode: inline } },
    });
    expect(await sharp(image.uint8Array).metadata()).toMatchObject({ format: "jpeg", width: 128, height: 64 });
    expect(warnings).toEqual([]);
  });

  it.each(["", "local/sdxl"])("gets an image of the model %j in the server's own shape", async (own) => {
    const { image } = await generateImage({ model: fal.image(own), prompt: "x", seed: 7 });
    expect(await sharp(image.uint8Array).metadata()).toMatchObject({ format: "jpeg", width: 64 });
  });

  it("gets several, each by a call of its own", async () => {
    const { images } = await generateImage({ model: fal.image(model), prompt: "x", n: 3, size: "64x64" });
    expect(images).toHaveLength(3);
  });

  it("fails with the field's name when the input is wrong", async () => {
    const failed = generateImage({ model: fal.image(model), prompt: "x", size: "64x64", seed: -1, maxRetries: 0 });
    const error = await failed.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(APICallError.isInstance(error)).toBe(true);
    expect(error).toMatchObject({ statusCode: 422, message: expect.stringContaining("seed") });
  });
});
