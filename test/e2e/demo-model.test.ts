/** What other people's clients get of the real worker with the demo model: the bytes that everybody gets for a seed. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { dataUri, twoColours, withHole } from "../support/images.ts";
import { edited, openai, png, streamedEdit } from "../support/openai.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post, postStream } from "../support/sse.ts";
import { Webuiapi } from "../support/webuiapi.ts";

/** Loading torch takes 8 s on an idle machine and ten times that on a crowded one. */
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const SIDE = 256;
const bytesOf = ({ b64_json = "" }: { b64_json?: string } = {}): Buffer => Buffer.from(b64_json, "base64");
const pixelsOf = (bytes: Buffer): Promise<Buffer> => sharp(bytes).removeAlpha().raw().toBuffer();
const kinds = (events: readonly { type: string }[]): string[] => events.map(({ type }) => type);

let image: Buffer;
let hole: Buffer;
let server: TestServer;
let cache: string;
beforeAll(async () => {
  image = await twoColours(SIDE, SIDE, "#204060", "#c08040");
  hole = await withHole(SIDE);
  cache = await mkdtemp(join(tmpdir(), "latentcast-cache-"));
  const env = { LATENTCAST_MODEL: "demo", LATENTCAST_CACHE_DIR: cache, LATENTCAST_WORKER_THREADS: "1" };
  // Exact mode: what else runs changes no byte.
  server = await startTestServer({ env: { ...env, LATENTCAST_MAX_BATCH: "1" } });
  await server.ready();
});
afterAll(async () => {
  await server.close();
  await rm(cache, { recursive: true, force: true });
});

describe("webuiapi", () => {
  let client: Webuiapi;
  beforeAll(() => {
    client = new Webuiapi();
  });
  afterAll(() => client[Symbol.asyncDispose]());

  it("makes the same PNG for a seed as `/stream`, byte for byte", async () => {
    const { txt2img: seen } = await client.see(server, ["txt2img"]);
    expect(seen).toMatchObject({ sizes: [[256, 256]], formats: ["PNG"], parameters: { steps: 3, seed: 8 } });
    expect(seen.info).toMatchObject({ seed: 8, sampler_name: "Euler a", sd_model_name: "demo", warnings: [] });
    const { events } = await postStream(`${server.url}/stream`, {
      ...{ prompt: "a beautiful sunset", negative_prompt: "fog", seed: 8, num_inference_steps: 3, guidance_scale: 4 },
      ...{ width: 256, height: 256, scheduler: "euler_a", output_format: "png" },
    });
    expect(events.at(-1)).toMatchObject({ image: { url: `data:image/png;base64,${seen.images[0]}` } });
  });

  it("starts from an image, and changes it where the mask says", async () => {
    const { img2img: seen } = await client.see(server, ["img2img"]);
    expect(seen.whole).toMatchObject({ sizes: [[256, 256]], parameters: { denoising_strength: 0.5 } });
    const [red, blue] = [
      [255, 0, 0],
      [0, 0, 255],
    ];
    expect(seen.masked[0]).toEqual(red);
    expect(seen.masked[1]).not.toEqual(blue);
    expect(seen.inverted[0]).not.toEqual(red);
    expect(seen.inverted[1]).toEqual(blue);
  });

  it("sees the image form, interrupts it and has it so far", async () => {
    const { progress: seen } = await client.see(server, ["progress"]);
    expect(seen).toMatchObject({ interrupt: {}, skip: null, shown: ["JPEG", [256, 256]] });
    expect(seen.progress[0]).toBeGreaterThan(0);
    expect(seen.progress[1]).toBeGreaterThan(seen.progress[0]);
    expect(seen.interrupted).toMatchObject({ sizes: [[256, 256]], formats: ["PNG"] });
    expect(seen.interrupted.info.warnings).toEqual([expect.stringMatching(/^interrupted after step \d+ of 50$/)]);
  });

  it("finds the model, chooses it by its title and by what is close to it, and reads every list", async () => {
    const { model, lists } = await client.see(server, ["model", "lists"]);
    expect(model).toEqual({ name: "demo [sdxl]", before: "demo [sdxl]", after: "demo [sdxl]" });
    const { samplers, scripts, refreshed, ...others } = lists;
    expect(samplers).toContainEqual({ name: "Euler a", aliases: expect.any(Array), options: {} });
    expect([scripts, refreshed]).toEqual([{ txt2img: [], img2img: [] }, null]);
    for (const list of Object.values(others)) expect(list).toBeTypeOf("object");
  });
});

describe("an edit by OpenAI's client", () => {
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
