/** Vercel's AI SDK with its two providers for OpenAI's API, as they come from npm. */
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateImage, RetryError } from "ai";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { twoColours, withHole } from "../support/images.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ worker: "fails_after_preview" });
  await server.ready();
});
afterAll(() => server.close());

/** `statuses` gets that of each answer. */
function models(statuses: number[] = []) {
  const baseURL = `${server.url}/v1`;
  const counting: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    statuses.push(response.status);
    return response;
  };
  return {
    openai: createOpenAI({ apiKey: "none", baseURL, fetch: counting }).image("sdxl"),
    "openai with the name of OpenAI's model": createOpenAI({ apiKey: "none", baseURL, fetch: counting }).image(
      "gpt-image-1",
    ),
    "openai-compatible": createOpenAICompatible({ name: "local", baseURL, fetch: counting }).imageModel("sdxl"),
  };
}

type Name = keyof ReturnType<typeof models>;
const names: Name[] = ["openai", "openai with the name of OpenAI's model", "openai-compatible"];

// Most of the time they wait before they ask again.
describe.concurrent.each(names)("generateImage by %s", (name) => {
  it("gets three images of the size asked for", async () => {
    const statuses: number[] = [];
    const { images } = await generateImage({ model: models(statuses)[name], prompt: "x", n: 3, size: "128x64" });
    expect(images.map(({ mediaType }) => mediaType)).toEqual(["image/png", "image/png", "image/png"]);
    for (const { uint8Array } of images)
      expect(await sharp(uint8Array).metadata()).toMatchObject({ format: "png", width: 128, height: 64 });
    // The provider of OpenAI makes one call an image for models that it does not know.
    expect(statuses).toHaveLength(name === "openai" ? 3 : 1);
  });

  it("edits an image with a mask, and several images", async () => {
    const image = await twoColours(64, 64, "red", "blue");
    const mask = await withHole(64);
    for (const prompt of [
      { text: "x", images: [image], mask },
      { text: "x", images: [image, image] },
    ]) {
      const { images } = await generateImage({ model: models()[name], prompt, n: 2 });
      expect(images).toHaveLength(2);
      for (const { uint8Array } of images) {
        const { width, height, exif } = await sharp(uint8Array).metadata();
        expect([width, height]).toEqual([64, 64]);
        expect(exif?.toString("latin1")).toMatch(
          "mask" in prompt ? /"mask":"sha256:/ : /"image":"sha256:[\da-f]+","mask":null/,
        );
      }
    }
  });

  it("fails with the text that names the field, without trying again", async () => {
    const statuses: number[] = [];
    const failed = generateImage({ model: models(statuses)[name], prompt: "x", size: "1x1" });
    await expect(failed).rejects.toSatisfy(
      (error) => APICallError.isInstance(error) && error.message.startsWith("size: 1x1"),
    );
    expect(statuses).toEqual([400]);
  });

  it("repeats a failure on the server: it knows no header that says not to", async () => {
    const statuses: number[] = [];
    const failed = generateImage({ model: models(statuses)[name], prompt: "out_of_memory" });
    await expect(failed).rejects.toSatisfy(
      (error) => RetryError.isInstance(error) && /device ran out of memory/.test(error.message),
    );
    expect(statuses).toEqual([503, 503, 503]);
  });
});

it("passes our own fields on by openai-compatible; the other provider sends what it knows", async () => {
  const { image } = await generateImage({
    model: models()["openai-compatible"],
    prompt: "x",
    providerOptions: { local: { seed: 7, steps: 1 } },
  });
  const { exif } = await sharp(image.uint8Array).metadata();
  expect(exif?.toString("latin1")).toMatch(/"num_inference_steps":1,.*"seed":7/);
});
