/** Images from images by OpenAI's own JavaScript client, as it comes from npm. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BadRequestError } from "openai";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { eventually } from "../support/eventually.ts";
import { formData } from "../support/forms.ts";
import { dataUri, twoColours, withHole } from "../support/images.ts";
import { counted, edited, openai, png, rejection, streamedEdit } from "../support/openai.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post, postStream } from "../support/sse.ts";

/** Loading torch takes 8 s on an idle machine and ten times that on a crowded one. */
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const SIDE = 256;
const bytesOf = ({ b64_json = "" }: { b64_json?: string } = {}): Buffer => Buffer.from(b64_json, "base64");
const pixelsOf = (bytes: Buffer): Promise<Buffer> => sharp(bytes).removeAlpha().raw().toBuffer();
const kinds = (events: readonly { type: string }[]): string[] => events.map(({ type }) => type);

let image: Buffer;
let hole: Buffer;
beforeAll(async () => {
  image = await twoColours(SIDE, SIDE, "#204060", "#c08040");
  hole = await withHole(SIDE);
});

describe("an edit by the real worker", () => {
  let server: TestServer;
  let cache: string;
  beforeAll(async () => {
    cache = await mkdtemp(join(tmpdir(), "latentcast-cache-"));
    const env = { LATENTCAST_MODEL: "demo", LATENTCAST_CACHE_DIR: cache, LATENTCAST_WORKER_THREADS: "1" };
    server = await startTestServer({ env });
    await server.ready();
  });
  afterAll(async () => {
    await server.close();
    await rm(cache, { recursive: true, force: true });
  });

  const asked = { prompt: "a beautiful sunset", seed: 8, strength: 0.5, steps: 8 };

  it("has the bytes that `/stream` ends with for the same parameters, as a form, as JSON and as a stream", async () => {
    const client = openai(server.url);
    const { events } = await postStream(`${server.url}/stream`, {
      prompt: asked.prompt,
      seed: asked.seed,
      strength: asked.strength,
      num_inference_steps: asked.steps,
      output_format: "png",
      image_url: dataUri(image),
    });
    const result: unknown = events.at(-1)?.["image"];
    const [asForm] = await edited(client, { ...asked, image: await png(image) });
    expect(result).toMatchObject({ url: `data:image/png;base64,${asForm?.b64_json}` });

    const stream = await streamedEdit(client, { ...asked, image: await png(image), partial_images: 2 });
    expect(kinds(stream)).toEqual(["image_edit.partial_image", "image_edit.partial_image", "image_edit.completed"]);
    expect(stream.at(-1)?.b64_json).toBe(asForm?.b64_json);

    const place = await (
      await post(`${server.url}/rest/storage/upload/initiate`, { content_type: "image/png", file_name: "a.png" })
    ).json();
    await fetch(place.upload_url, { method: "PUT", body: new Uint8Array(image) });
    for (const image_url of [dataUri(image), place.file_url]) {
      const json = await post(`${server.url}/v1/images/edits`, { ...asked, images: [{ image_url }] });
      const { data, warnings } = await json.json();
      expect([data[0].b64_json, warnings]).toEqual([asForm?.b64_json, []]);
    }
  });

  it("changes what is transparent in the mask, and leaves the rest as it was", async () => {
    const masked = { ...asked, strength: undefined, image: [await png(image), await png(hole)] };
    const [result] = await edited(openai(server.url), { ...masked, mask: await png(hole, "mask.png") });
    const [before, after] = [await pixelsOf(image), await pixelsOf(bytesOf(result))];
    const differs = { inside: 0, outside: 0 };
    for (let at = 0; at < before.length; at += 1) {
      const [x, y] = [Math.floor(at / 3) % SIDE, Math.floor(at / 3 / SIDE)];
      const isInside = [x, y].every((side) => side >= SIDE / 4 && side < (SIDE * 3) / 4);
      const difference = Math.abs((before[at] ?? 0) - (after[at] ?? 0));
      const where = isInside ? "inside" : "outside";
      differs[where] = Math.max(differs[where], difference);
    }
    expect(differs.outside).toBeLessThanOrEqual(2);
    expect(differs.inside).toBeGreaterThan(30);
    // The same picture as from our own shape, where white marks the change.
    const white = await sharp(await sharp(hole).extractChannel("alpha").negate().toBuffer())
      .png()
      .toBuffer();
    const ours = await post(server.url, {
      prompt: asked.prompt,
      seed: asked.seed,
      num_inference_steps: asked.steps,
      output_format: "png",
      image_url: dataUri(image),
      mask_url: dataUri(white),
    });
    const { url } = (await ours.json()).image;
    expect(await pixelsOf(Buffer.from(url.split(",")[1], "base64"))).toEqual(after);
  });

  it("has the shape of its image where no size is asked for, and else the size", async () => {
    const wide = await png(await twoColours(192, 128, "red", "blue"));
    const sizes = await Promise.all(
      (["auto", "128x64"] as const).map(async (size) => {
        const [result] = await edited(openai(server.url), { ...asked, size, image: wide });
        const { width, height } = await sharp(bytesOf(result)).metadata();
        return [width, height];
      }),
    );
    expect(sizes).toEqual([
      [192, 128],
      [128, 64],
    ]);
  });

  it("is varied without words", async () => {
    const { data } = await openai(server.url).images.createVariation({ image: await png(image), n: 2 });
    const results = await Promise.all((data ?? []).map((each) => pixelsOf(bytesOf(each as { b64_json: string }))));
    expect(results.map(({ byteLength }) => byteLength)).toEqual([SIDE * SIDE * 3, SIDE * SIDE * 3]);
    expect(results[0]).not.toEqual(results[1]);
  });
});

describe("an edit", () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer({ worker: "crash_mid_job" });
    await server.ready();
  });
  afterAll(() => server.close());

  it.each([0, 1, 3])("with %i partial images has them in order under its own names", async (partials) => {
    const asked = { prompt: "x", steps: 8, partial_images: partials, output_format: "webp" } as const;
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
    const asked = { prompt: "crash once", steps: 8, partial_images: 3, image: await png(image) };
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
    await eventually(() =>
      expect(slow.jobs.snapshot()).toMatchObject({ counters: { cancelled: 1 }, workers: [{ jobs: 0 }] }),
    );
  });
});
