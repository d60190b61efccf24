/** Images that start from an image, through a real server and the real worker with the demo model. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { eventually } from "../support/eventually.ts";
import { dataUri, twoColours } from "../support/images.ts";
import { readEvents, resultOf, submit } from "../support/queue.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post, postStream } from "../support/sse.ts";

/** Loading torch takes 8 s on an idle machine and ten times that on a crowded one. */
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const ONE_THREAD = { LATENTCAST_WORKER_THREADS: "1" };

let server: TestServer;
let cache: string;
beforeAll(async () => {
  cache = await mkdtemp(join(tmpdir(), "latentcast-cache-"));
  const env = { LATENTCAST_MODEL: "demo", LATENTCAST_DEVICES: "cpu,cpu", LATENTCAST_CACHE_DIR: cache, ...ONE_THREAD };
  server = await startTestServer({ env });
  await server.ready();
});
afterAll(async () => {
  await server.close();
  await rm(cache, { recursive: true, force: true });
});

async function pixelsOf(url: string): Promise<Buffer> {
  return sharp(Buffer.from(url.slice(url.indexOf(",") + 1), "base64"))
    .removeAlpha()
    .raw()
    .toBuffer();
}

async function failureOf(response: Response): Promise<unknown> {
  const body = await response.json();
  return { status: response.status, fields: body.detail?.map(({ loc }: { loc: string[] }) => loc.at(-1)) };
}

/** A sky and a ground, and a sun on the left or on the right. */
async function sketch(side: "left" | "right"): Promise<Buffer> {
  const sun = `<circle cx="${side === "left" ? 60 : 196}" cy="110" r="26" fill="#fff3b0"/>`;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="256" height="256"><rect width="256" height="256" fill="#e07840"/>${sun}<rect y="160" width="256" height="96" fill="#403040"/></svg>`;
  return sharp(Buffer.from(svg)).png().toBuffer();
}

/** How much brighter the left half of the sky is than the right one. */
async function leftness(url: string): Promise<number> {
  const pixels = await pixelsOf(url);
  let difference = 0;
  for (let y = 80; y < 150; y += 1) {
    for (let x = 0; x < 256; x += 1) difference += (x < 128 ? 1 : -1) * (pixels[(y * 256 + x) * 3 + 1] ?? 0);
  }
  return difference / (70 * 128);
}

describe("an image from an image", () => {
  it("keeps the layout of the sketch, and counts the steps that run", async () => {
    const differences: number[] = [];
    for (const side of ["left", "right"] as const) {
      const { events, status } = await postStream(`${server.url}/stream`, {
        prompt: "a beautiful sunset",
        seed: 8,
        strength: 0.6,
        num_inference_steps: 20,
        output_format: "png",
        image_url: dataUri(await sketch(side)),
      });
      expect(status).toBe(200);
      expect(events[0]).toMatchObject({ preview: { step: 0, total_steps: 12 } });
      const image: unknown = events.at(-1)?.["image"];
      expect(image).toMatchObject({ width: 256, height: 256 });
      differences.push(await leftness((image as { url: string }).url));
    }
    const [left = 0, right = 0] = differences;
    expect(left).toBeGreaterThan(0);
    expect(right).toBeLessThan(0);
  });

  it("does not change a bit outside the mask", async () => {
    const image = await twoColours(256, 256, "#204060", "#c08040");
    const mask = await twoColours(256, 256, "black", "white");
    const { events } = await postStream(`${server.url}/stream`, {
      prompt: "a beautiful sunset",
      num_inference_steps: 4,
      output_format: "png",
      image_url: dataUri(image),
      mask_url: dataUri(mask),
    });
    const last = events.at(-1)?.["image"] as { url: string };
    const [before, after] = [await pixelsOf(dataUri(image)), await pixelsOf(last.url)];
    let isKept = true;
    let isChanged = false;
    for (let index = 0; index < before.length; index += 3) {
      const isLeft = (index / 3) % 256 < 128;
      const isSame = before.compare(after, index, index + 3, index, index + 3) === 0;
      if (isLeft && !isSame) isKept = false;
      if (!isLeft && !isSame) isChanged = true;
    }
    expect([isKept, isChanged]).toEqual([true, true]);
  });

  it("is the same again when its worker is killed on the way", async () => {
    const input = {
      prompt: "a beautiful sunset",
      seed: 3,
      strength: 0.8,
      num_inference_steps: 20,
      output_format: "png",
      preview: { every: 1 },
      image_url: dataUri(await sketch("left")),
    };
    const undisturbed = await (await post(`${server.url}/`, input)).json();
    const disturbed = post(`${server.url}/`, input);
    const busy = await eventually(async () => {
      const worker = server.jobs.snapshot().workers.find(({ jobs }) => jobs > 0);
      if (worker?.pid === undefined || worker.pid === null) throw new Error("no worker is busy");
      return worker.pid;
    }, 60_000);
    process.kill(busy, "SIGKILL");
    const again = await (await disturbed).json();
    expect(await pixelsOf(again.image.url)).toEqual(await pixelsOf(undisturbed.image.url));
  });

  it("is described in the image's metadata, with digests of the input files", async () => {
    const body = await (
      await post(`${server.url}/`, {
        prompt: "x",
        strength: 0.5,
        num_inference_steps: 2,
        image_url: dataUri(await sketch("left")),
      })
    ).json();
    const { exif } = await sharp(Buffer.from(body.image.url.split(",")[1], "base64")).metadata();
    expect(exif?.toString("latin1")).toMatch(/"strength":0.5,"inputs":\{"image":"sha256:[\da-f]{64}","mask":null\}/);
  });

  it("starts from an upload and from a result of this server", async () => {
    const place = await (
      await post(`${server.url}/rest/storage/upload/initiate`, { content_type: "image/png", file_name: "a.png" })
    ).json();
    await fetch(place.upload_url, { method: "PUT", body: new Uint8Array(await sketch("left")) });
    const input = { prompt: "x", num_inference_steps: 2, sync_mode: false };
    const first = await (
      await post(`${server.url}/fal-ai/fast-sdxl/image-to-image`, { ...input, image_url: place.file_url })
    ).json();
    expect(first.images[0]).toMatchObject({ width: 256, height: 256 });
    const second = await post(`${server.url}/fal-ai/fast-sdxl/inpainting`, {
      ...input,
      image_url: first.images[0].url,
      mask_url: dataUri(await twoColours(64, 64, "black", "white")),
    });
    expect(second.status).toBe(200);
  });
});

describe("input that cannot be used", () => {
  const png = (options: Parameters<typeof sharp>[1]): Promise<Buffer> => sharp(options).png().toBuffer();

  it.each([
    ["an address elsewhere", "https://example.com/a.png"],
    ["an address inside", "http://127.0.0.1:1/files/abc.png"],
    ["a file that is not there", "/files/abc.png"],
    ["a path of this machine", "file:///etc/hostname"],
    ["text", "hello"],
    ["a data URI that is not in base64", "data:image/svg+xml,<svg/>"],
    ["an SVG", dataUri(Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>'))],
    ["nothing", "data:image/png;base64,"],
  ])("is refused by name: %s", async (_, image_url) => {
    const response = await post(`${server.url}/stream`, { prompt: "x", image_url });
    expect(await failureOf(response)).toEqual({ status: 422, fields: ["image_url"] });
  });

  it("is refused by name: an image that is cut off, and one of too many pixels", async () => {
    const whole = await sketch("left");
    const bomb = await png({
      create: { width: 20_000, height: 20_000, channels: 3, background: "red" },
      limitInputPixels: false,
    });
    for (const bytes of [whole.subarray(0, whole.byteLength / 2), bomb]) {
      const response = await post(`${server.url}/`, { prompt: "x", image_url: dataUri(bytes) });
      expect(await failureOf(response)).toEqual({ status: 422, fields: ["image_url"] });
    }
  });

  it("is refused by name: a mask alone, a mask that is not an image, a strength that runs no step", async () => {
    const image_url = dataUri(await sketch("left"));
    const cases = [
      [{ mask_url: image_url }, "mask_url"],
      [{ image_url, mask_url: "data:image/png;base64,AAAA" }, "mask_url"],
      [{ image_url, strength: 0.01, num_inference_steps: 20 }, "strength"],
      [{ image_url, strength: 1.5 }, "strength"],
    ] as const;
    for (const [input, field] of cases) {
      const response = await post(`${server.url}/stream`, { prompt: "x", ...input });
      expect(await failureOf(response)).toEqual({ status: 422, fields: [field] });
    }
  });

  it("is accepted where it is unusual but valid", async () => {
    const strange = [
      png({ create: { width: 1, height: 1, channels: 4, background: "#ff000080" } }),
      png({ create: { width: 20_000, height: 10, channels: 3, background: "green" } }),
      sharp({ create: { width: 40, height: 60, channels: 3, background: "blue" } })
        .toColourspace("cmyk")
        .jpeg()
        .toBuffer(),
      sharp({ create: { width: 40, height: 60, channels: 3, background: "blue" } })
        .toColourspace("rgb16")
        .png()
        .toBuffer(),
    ];
    for (const bytes of await Promise.all(strange)) {
      const input = { prompt: "x", num_inference_steps: 1, strength: 1, image_url: dataUri(bytes) };
      expect((await post(`${server.url}/`, input)).status).toBe(200);
    }
  });

  it("is kept as a request of the queue that failed", async () => {
    const reply = await submit(server.url, { prompt: "x", image_url: "https://example.com/a.png" });
    expect(await failureOf(await resultOf(reply))).toEqual({ status: 422, fields: ["image_url"] });
  });
});

describe("a queue after a restart", () => {
  it("still has the input image of a request, and makes the same result from it", async () => {
    const dataDir = await mkdtemp(join(tmpdir(), "latentcast-data-"));
    const env = {
      LATENTCAST_MODEL: "demo",
      LATENTCAST_CACHE_DIR: cache,
      LATENTCAST_DATA_DIR: dataDir,
      ...ONE_THREAD,
    };
    const input = {
      prompt: "a beautiful sunset",
      seed: 5,
      strength: 0.7,
      num_inference_steps: 30,
      output_format: "png",
      image_url: dataUri(await sketch("right")),
    };
    const expected = await (await post(`${server.url}/`, input)).json();
    const first = await startTestServer({ env });
    const reply = await submit(first.url, input);
    await readEvents(`${reply.response_url}/events`, { isEnough: ({ name }) => name === "progress" });
    await first.close();
    await using second = await startTestServer({ env });
    const id = reply.request_id;
    const urls = { status_url: `${second.url}/requests/${id}/status`, response_url: `${second.url}/requests/${id}` };
    const body = await (await eventually(() => resultOf(urls), 120_000)).json();
    expect(await pixelsOf(body.image.url)).toEqual(await pixelsOf(expected.image.url));
    await second.close();
    await rm(dataDir, { recursive: true, force: true });
  });
});
