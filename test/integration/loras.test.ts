/** LoRAs by name, through a real server and the real worker with the tiny random model. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { loadConfig } from "../../src/config.ts";
import { runServer } from "../../src/runtime.ts";
import { eventually } from "../support/eventually.ts";
import { writeLora, writeTensors } from "../support/loras.ts";
import { resultOf, submit } from "../support/queue.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post, postStream } from "../support/sse.ts";

/** Loading torch takes 8 s on an idle machine and ten times that on a crowded one. */
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

let server: TestServer;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "latentcast-loras-"));
  await writeLora(folder, "ink", 1);
  await writeLora(folder, "styles/oil", 2);
  await writeFile(join(folder, "notes.txt"), "no LoRA");
  server = await startTestServer({
    env: { LATENTCAST_LORA_DIR: folder, LATENTCAST_MAX_BATCH: "1", LATENTCAST_WORKER_THREADS: "1" },
  });
  await server.ready();
});
afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

const INPUT = { seed: 3, width: 64, height: 64, num_inference_steps: 3, output_format: "png" };

interface Made {
  readonly image: { readonly url: string };
  readonly prompt: string;
  readonly warnings: readonly string[];
}

async function make(input: object, path = "/"): Promise<Made> {
  const response = await post(`${server.url}${path}`, { ...INPUT, ...input });
  expect(response.status).toBe(200);
  return response.json() as Promise<Made>;
}

async function pixelsOf({ image }: Made): Promise<Buffer> {
  return sharp(bytesOf(image.url)).removeAlpha().raw().toBuffer();
}

function bytesOf(url: string): Buffer {
  return Buffer.from(url.slice(url.indexOf(",") + 1), "base64");
}

async function failureOf(response: Response): Promise<unknown> {
  const { detail, error_type } = (await response.json()) as Record<string, unknown>;
  return { status: response.status, error_type, detail };
}

describe("the LoRAs of a server", () => {
  it("are listed by name, and a new file at once", async () => {
    const list = async (): Promise<unknown> => (await fetch(`${server.url}/loras`)).json();
    const names = ["ink", "styles/oil"].map((path) =>
      expect.objectContaining({ path, size_bytes: expect.any(Number) }),
    );
    expect(await list()).toEqual({ loras: names });
    expect(await (await fetch(`${server.url}/health`)).json()).toMatchObject({
      loras: ["ink", "styles/oil"],
      model: { takes_loras: true },
    });
    const added = await writeLora(folder, "added", 3);
    expect(await list()).toEqual({ loras: [expect.objectContaining({ path: "added" }), ...names] });
    await make({ prompt: "x", loras: [{ path: "added" }] });
    await rm(added);
  });

  it("must have a folder", async () => {
    const config = loadConfig({ env: { LATENTCAST_LORA_DIR: join(folder, "none"), LATENTCAST_DATA_DIR: folder } });
    await expect(runServer({ config, env: {} })).rejects.toThrow(/--lora-dir: there is no folder/);
  });
});

describe("a LoRA of a request", () => {
  it("changes its image as its scale says, and no other's", async () => {
    const plain = await pixelsOf(await make({ prompt: "a lake" }));
    const [full, half, none] = await Promise.all(
      [1, 0.5, 0].map(async (scale) => pixelsOf(await make({ prompt: "a lake", loras: [{ path: "ink", scale }] }))),
    );
    expect(full).not.toEqual(plain);
    expect(half).not.toEqual(full);
    expect(none).toEqual(plain);
    expect(await pixelsOf(await make({ prompt: "a lake" }))).toEqual(plain);
  });

  it("is the same in the prompt as in the field, in fal's shape and over the queue", async () => {
    const loras = [{ path: "ink", scale: 0.8 }, { path: "styles/oil" }];
    const wanted = await pixelsOf(await make({ prompt: "a lake", loras }));
    const tagged = await make({ prompt: "a <lora:ink:0.8>lake<lora:oil>" });
    expect(await pixelsOf(tagged)).toEqual(wanted);
    expect(tagged).toMatchObject({ prompt: "a <lora:ink:0.8>lake<lora:oil>", warnings: [] });
    const fal = { prompt: "a lake", negative_prompt: "blurry, low quality", guidance_scale: 5, loras };
    const { width, height, ...rest } = INPUT;
    const body = { ...rest, ...fal, image_size: { width, height }, sync_mode: true };
    const inFalsShape = await (await post(`${server.url}/fal-ai/fast-sdxl`, body)).json();
    expect(await pixelsOf({ ...tagged, image: inFalsShape.images[0] })).toEqual(wanted);
    const queued = await submit(server.url, { ...INPUT, prompt: "a lake", loras, sync_mode: true });
    expect(await pixelsOf((await (await resultOf(queued)).json()) as Made)).toEqual(wanted);
  });

  it("is listed and applied in the API of the web UI too", async () => {
    const named = (await (await fetch(`${server.url}/sdapi/v1/loras`)).json()) as { name: string }[];
    expect(named.map(({ name }) => name)).toEqual(["ink", "styles/oil"]);
    const { seed, width, height } = INPUT;
    const drawn = async (prompt: string): Promise<Buffer> => {
      const body = { prompt, seed, width, height, steps: 3 };
      const response = await post(`${server.url}/sdapi/v1/txt2img`, body);
      expect(response.status).toBe(200);
      const [image = ""] = ((await response.json()) as { images: string[] }).images;
      return sharp(bytesOf(image)).removeAlpha().raw().toBuffer();
    };
    const plain = await drawn("a lake");
    expect((await drawn("a <lora:ink:0>lake")).equals(plain)).toBe(true);
    expect((await drawn("a <lora:ink:0.8>lake")).equals(plain)).toBe(false);
  });

  it("is text in a plain prompt", async () => {
    const syntax = { prompt_syntax: "plain" };
    const tagged = await pixelsOf(await make({ ...syntax, prompt: "a <lora:ink>" }));
    expect(tagged).not.toEqual(await pixelsOf(await make({ ...syntax, prompt: "a ", loras: [{ path: "ink" }] })));
    await make({ ...syntax, prompt: "<lora:no-such-one>" });
  });

  it("is told in the image itself", async () => {
    const { image } = await make({ prompt: "a lake<lora:ink:0.8>" });
    const { exif } = await sharp(bytesOf(image.url)).metadata();
    expect(exif?.toString("latin1")).toMatch(/"prompt":"a lake",.*"loras":\[\{"path":"ink","scale":0.8\}\]/);
  });

  it("is applied the same when its worker is killed on the way", async () => {
    const input = {
      ...INPUT,
      prompt: "a lake",
      loras: [{ path: "ink" }],
      width: 256,
      height: 256,
      num_inference_steps: 50,
    };
    const undisturbed = await make(input);
    const disturbed = make(input);
    const busy = await eventually(async () => {
      const worker = server.jobs.snapshot().workers.find(({ jobs }) => jobs > 0);
      if (worker?.pid === undefined || worker.pid === null) throw new Error("no worker is busy");
      return worker.pid;
    }, 60_000);
    process.kill(busy, "SIGKILL");
    expect(await pixelsOf(await disturbed)).toEqual(await pixelsOf(undisturbed));
    expect(server.jobs.snapshot().counters.restarts).toBe(1);
  });
});

describe("a LoRA that cannot be used", () => {
  const zeros = { shape: [4, 768], value: () => 0 };

  it.each<[string, object, string, RegExp]>([
    ["not there", { loras: [{ path: "no-such-one" }] }, "loras", /is not a LoRA of this server/],
    ["not there, in the prompt", { prompt: "a <lora:no-such-one:1>" }, "loras", /is not a LoRA of this server/],
    ["elsewhere", { loras: [{ path: "../secret" }] }, "loras", /is not a LoRA of this server/],
    ["at an address", { loras: [{ path: "https://example.com/ink.safetensors" }] }, "loras", /is not a LoRA/],
    ["for another model", { loras: [{ path: "sd1" }] }, "loras", /Stable Diffusion 1/],
    ["with keys that fit nothing", { loras: [{ path: "strange" }] }, "loras", /2 of 2 keys fit no layer/],
    ["damaged", { loras: [{ path: "damaged" }] }, "loras", /damaged/],
    ["one too many", { loras: Array.from({ length: 9 }, () => ({ path: "ink" })) }, "loras", /<=8/],
    ["too strong", { loras: [{ path: "ink", scale: 11 }] }, "scale", /<=10/],
    ["one too many in the prompt", { prompt: "<lora:ink>".repeat(9) }, "loras", /9 LoRAs are more than 8/],
    ["without a number", { prompt: "<lora:ink:strong>" }, "prompt", /is not <lora:name:scale>/],
  ])("is a 422 with a reason, on a stream as well: %s", async (_name, input, field, reason) => {
    await writeTensors(folder, "sd1", { "lora_unet_x_attn2_to_k.lora_down.weight": zeros });
    await writeTensors(folder, "strange", {
      "lora_unet_a.lora_down.weight": zeros,
      "lora_unet_b.lora_up.weight": zeros,
    });
    await writeFile(join(folder, "damaged.safetensors"), "damaged");
    for (const path of ["/", "/stream"]) {
      const response = await post(`${server.url}${path}`, { ...INPUT, prompt: "x", ...input });
      expect(await failureOf(response)).toEqual({
        status: 422,
        error_type: "invalid_request",
        detail: [expect.objectContaining({ msg: expect.stringMatching(reason) })],
      });
      const last = await post(`${server.url}${path}`, { ...INPUT, prompt: "x", ...input });
      expect((await last.json()).detail[0].loc).toContain(field);
    }
  });

  it("leaves requests beside it alone", async () => {
    const [good, bad] = await Promise.all([
      postStream(`${server.url}/stream`, { ...INPUT, prompt: "x", loras: [{ path: "ink" }] }),
      post(`${server.url}/`, { ...INPUT, prompt: "x", loras: [{ path: "no-such-one" }] }),
    ]);
    expect([good.status, bad.status]).toEqual([200, 422]);
    expect(good.events.at(-1)).toHaveProperty("image");
  });
});
