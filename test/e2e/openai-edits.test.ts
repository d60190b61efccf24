/** Images from images by OpenAI's own JavaScript client, as it comes from npm. What the demo model draws for it is in demo-model.test.ts. */
import { BadRequestError } from "openai";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { formData } from "../support/forms.ts";
import { twoColours } from "../support/images.ts";
import { counted, edited, openai, png, rejection, streamedEdit } from "../support/openai.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post } from "../support/sse.ts";

const SIDE = 256;
/** A partial image that is still being encoded when the next one comes is left out; so there is a quarter of a second between two. */
const STEPS_WITH_PARTIALS = 50;
const bytesOf = ({ b64_json = "" }: { b64_json?: string } = {}): Buffer => Buffer.from(b64_json, "base64");
const kinds = (events: readonly { type: string }[]): string[] => events.map(({ type }) => type);

let image: Buffer;
beforeAll(async () => {
  image = await twoColours(SIDE, SIDE, "#204060", "#c08040");
});

describe("an edit", () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer({ worker: "crash_mid_job" });
    await server.ready();
  });
  afterAll(() => server.close());

  it.each([0, 1, 3])("with %i partial images has them in order under its own names", async (partials) => {
    const steps = partials === 0 ? 8 : STEPS_WITH_PARTIALS;
    const asked = { prompt: "x", steps, partial_images: partials, output_format: "webp" } as const;
    const events = await streamedEdit(openai(server.url), { ...asked, image: await png(image) });
    expect(kinds(events)).toEqual([
      ...Array.from({ length: partials }, () => "image_edit.partial_image"),
      "image_edit.completed",
    ]);
    for (const event of events) expect((await sharp(bytesOf(event)).metadata()).format).toBe("webp");
  });

  it.each(["True", "true", "1"])("whose form ends with stream %j, after its files, is a stream", async (stream) => {
    const body = formData({
      image: new Blob([new Uint8Array(image)]),
      prompt: "x",
      partial_images: "1",
      output_format: "jpeg",
      stream,
    });
    const response = await fetch(`${server.url}/images/edits`, { method: "POST", body });
    expect(response.headers.get("content-type")).toContain("text/event-stream");
    expect(await response.text()).toContain("event: image_edit.completed");
  });

  it("of a model named dall-e has an address, of others the bytes", async () => {
    const asked = { prompt: "x", image: await png(image) };
    const [byUrl] = await edited(openai(server.url), { ...asked, model: "dall-e-2" });
    expect(byUrl).toEqual({ url: expect.stringMatching(/^http.+\.png$/), seed: expect.any(Number) });
    const [inside] = await edited(openai(server.url), { ...asked, model: "gpt-image-1" });
    expect(inside).toEqual({ b64_json: expect.any(String), seed: expect.any(Number) });
  });

  it("whose worker dies once shows no partial image twice, and succeeds", async () => {
    const asked = { prompt: "crash once", steps: STEPS_WITH_PARTIALS, partial_images: 3, image: await png(image) };
    expect(kinds(await streamedEdit(openai(server.url), asked))).toEqual([
      ...["image_edit.partial_image", "image_edit.partial_image", "image_edit.partial_image"],
      "image_edit.completed",
    ]);
  });

  it("whose worker dies twice fails with our code, and is not asked for again", async () => {
    const { client, statuses } = counted(server.url);
    const asked = { prompt: "crash always", steps: 8, partial_images: 3, image: await png(image) };
    expect(await rejection(streamedEdit(client, asked))).toMatchObject({ code: "worker_crashed" });
    expect(await rejection(edited(client, asked))).toMatchObject({ code: "worker_crashed", status: 503 });
    expect(statuses).toEqual([200, 503]);
  });

  it("is refused by the field that is wrong, once", async () => {
    const broken = await png(image.subarray(0, image.byteLength / 2));
    const good = await png(image);
    const wrong: [object, string][] = [
      [{ image: broken }, "image"],
      [{ image: good, mask: await png(Buffer.from("no image")) }, "mask"],
      [{ image: [] }, "image"],
      [{ image: good, size: "1x1" }, "size"],
      [{ image: good, strength: 0.01 }, "strength"],
      [{ image: good, background: "transparent" }, "background"],
    ];
    for (const [fields, param] of wrong) {
      const { client, statuses } = counted(server.url);
      // What is wrong is not in the client's types either.
      const error = await rejection(client.images.edit({ prompt: "x", ...fields } as never));
      expect(error).toBeInstanceOf(BadRequestError);
      expect(error).toMatchObject({ param, code: "invalid_request" });
      expect(statuses).toEqual([400]);
    }
  });

  it.each([
    ["a file of OpenAI's", { file_id: "file-1" }, "images.0.file_id"],
    ["an address elsewhere", { image_url: "https://example.com/a.png" }, "images.0.image_url"],
    ["an address inside", { image_url: "http://127.0.0.1:1/files/a.png" }, "images.0.image_url"],
    ["an address of this machine's cloud", { image_url: "http://169.254.169.254/latest" }, "images.0.image_url"],
    ["a path of this machine", { image_url: "file:///etc/hostname" }, "images.0.image_url"],
  ])("as JSON is refused for %s", async (_name, reference, param) => {
    const response = await post(`${server.url}/v1/images/edits`, { prompt: "x", images: [reference] });
    expect([response.status, (await response.json()).error.param]).toEqual([400, param]);
  });

  it("that is left at its first partial image frees its worker", async () => {
    await using slow = await startTestServer({
      worker: "one_at_a_time",
      env: { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.1" },
    });
    await slow.ready();
    const stream = await openai(slow.url).images.edit({
      ...{ prompt: "x", image: await png(image), stream: true, partial_images: 3 },
      ...{ steps: 50 },
    });
    for await (const event of stream) {
      expect(event.type).toBe("image_edit.partial_image");
      break;
    }
    await eventually(() => expect(slow.devices()).toMatchObject({ cancelled: 1, held: 0 }));
  });
});
