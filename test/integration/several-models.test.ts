/** Several models in one server, with the real worker: the demo model, the tiny random one, and a file that is no model. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { loadConfig } from "../../src/config.ts";
import { startOrchestrator } from "../../src/in-process.ts";
import type { Health } from "../../src/schema/health.ts";
import { sdapi } from "../support/a1111.ts";
import { modelOf } from "../support/images.ts";
import { openai } from "../support/openai.ts";
import { resultOf, submit } from "../support/queue.ts";
import { RealtimeClient } from "../support/realtime.ts";
import { startTestServer, testPython, type TestServer } from "../support/server.ts";
import { post, postStream } from "../support/sse.ts";

/** Loading torch takes 8 s on an idle machine and ten times that on a crowded one. */
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const INPUT = { prompt: "a lake", seed: 3, width: 64, height: 64, num_inference_steps: 2, output_format: "png" };
const ENV = { LATENTCAST_MAX_BATCH: "1", LATENTCAST_WORKER_THREADS: "1" };

interface Made {
  readonly image: { readonly url: string };
  readonly warnings: readonly string[];
}

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "latentcast-models-"));
  await writeFile(join(folder, "broken.safetensors"), "GGUF");
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function healthOf({ url }: TestServer): Promise<Health> {
  return (await fetch(`${url}/health`)).json() as Promise<Health>;
}

async function make({ url }: TestServer, input: object, path = "/"): Promise<Made> {
  const response = await post(`${url}${path}`, { ...INPUT, ...input });
  expect(response.status, await response.clone().text()).toBe(200);
  return response.json() as Promise<Made>;
}

describe("a server with several models", () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer({ env: { ...ENV, LATENTCAST_MODEL: `noise,${folder}/broken.safetensors,demo` } });
    await server.ready();
  });
  afterAll(() => server.close());

  it("lists those that requests may name, and says what is wrong with the others", async () => {
    const { data } = (await (await fetch(`${server.url}/v1/models`)).json()) as { data: { id: string }[] };
    expect(data.map(({ id }) => id)).toEqual(["noise", "demo"]);
    const health = await healthOf(server);
    expect(health.model?.id).toBe("noise");
    expect(health.models?.map(({ id, native_width: width, problem }) => [id, width, problem])).toEqual([
      ["noise", expect.any(Number), null],
      ["demo", 256, null],
    ]);
    expect(health.unserved_models).toEqual([
      { id: "broken.safetensors", problem: expect.stringContaining("is a GGUF file") },
    ]);
  });

  it("draws with the model that a request names, and with the first for one that names none", async () => {
    for (const [model, name] of [
      ["demo", "demo"],
      ["noise", "noise"],
      [undefined, "noise"],
      [null, "noise"],
    ]) {
      const { image, warnings } = await make(server, { model });
      expect(await modelOf(image.url)).toBe(name);
      expect(warnings.filter((warning) => warning.includes("model"))).toEqual([]);
    }
  });

  it("fills in the defaults of the model that was named", async () => {
    const { width: _width, height: _height, ...input } = INPUT;
    const response = await post(server.url, { ...input, model: "demo" });
    expect(await response.json()).toMatchObject({ image: { width: 256, height: 256 } });
  });

  it("refuses a size that the named model cannot make, whatever the first can", async () => {
    const response = await post(server.url, { ...INPUT, model: "demo", width: 1024 });
    expect(response.status).toBe(422);
    expect(await response.json()).toMatchObject({ detail: [{ loc: ["body", "width"] }] });
  });

  it.each(["/", "/stream", "/fal-ai/fast-sdxl"])(
    "refuses a name that is not there, and lists those that are: %s",
    async (path) => {
      const response = await post(`${server.url}${path}`, { prompt: "x", model: "pony" });
      expect(response.status).toBe(422);
      const msg = 'there is no model "pony"; there is "noise", "demo", "broken.safetensors"';
      expect(await response.json()).toMatchObject({ detail: [{ loc: ["body", "model"], msg }] });
    },
  );

  it("answers for a model that cannot be served with what is wrong with it", async () => {
    const response = await post(server.url, { ...INPUT, model: "broken.safetensors" });
    expect(response.status).toBe(503);
    const { detail } = (await response.json()) as { detail: string };
    expect(detail).toMatch(/^This model cannot be loaded: broken\.safetensors is a GGUF file/);
    expect(detail).not.toContain(tmpdir());
  });

  it("streams, queues and keeps a realtime socket with each of them", async () => {
    const { events } = await postStream(`${server.url}/stream`, { ...INPUT, model: "demo" });
    expect(await modelOf((events.at(-1) as unknown as Made).image.url)).toBe("demo");
    const queued = (await (await resultOf(await submit(server.url, { ...INPUT, model: "demo" }))).json()) as Made;
    expect(await modelOf(queued.image.url)).toBe("demo");
    await using client = await RealtimeClient.open(server.url);
    client.ask({ ...INPUT, model: "demo", request_id: "1" });
    const { message } = await client.result("1");
    const [image] = message["images"] as { content: Uint8Array }[];
    expect(await modelOf(Buffer.from(image!.content))).toBe("demo");
    client.ask({ ...INPUT, model: "pony", request_id: "2" });
    const refusal = await client.until((each) => each["request_id"] === "2" || each["type"] === "x-fal-error");
    expect(JSON.stringify(refusal.message)).toContain("there is no model");
  });

  it.each(["model", "model_name"])("is asked in the shape of fal's fast-sdxl by `%s`", async (field) => {
    const body = {
      prompt: "x",
      seed: 3,
      image_size: { width: 64, height: 64 },
      num_inference_steps: 2,
      sync_mode: true,
      format: "png",
    };
    const response = await post(`${server.url}/fal-ai/fast-sdxl`, { ...body, [field]: "demo" });
    const { images } = (await response.json()) as { images: { url: string }[] };
    expect(await modelOf(images[0]!.url)).toBe("demo");
  });

  it("is asked in OpenAI's shape by `model`, where other names still draw", async () => {
    const client = openai(server.url);
    const asked = { prompt: "a lake", size: "64x64" as never, num_inference_steps: 2 };
    expect(await client.images.generate({ ...asked, model: "demo" })).toMatchObject({ model: "demo", warnings: [] });
    expect(await client.images.generate({ ...asked, model: "gpt-image-1" })).toMatchObject({
      model: "noise",
      warnings: ["gpt-image-1 is not loaded: noise made the image"],
    });
    expect((await client.models.list()).data.map(({ id }) => id)).toEqual(["noise", "demo"]);
    expect((await client.models.retrieve("demo")).id).toBe("demo");
  });

  it("is asked in A1111's shape by checkpoint, for one request and for all of a caller", async () => {
    const api = sdapi(server.url);
    const asked = { prompt: "x", width: 64, height: 64, steps: 2 };
    const override_settings = { sd_model_checkpoint: "demo [sdxl]" };
    // What an attempt before this one may have left: it is kept for the caller.
    expect((await api.post("/sdapi/v1/options", { sd_model_checkpoint: "noise" })).status).toBe(200);
    const titles = (await (await api.get("/sdapi/v1/sd-models")).json()) as { title: string }[];
    expect(titles.map(({ title }) => title)).toEqual(["noise [sdxl]", "demo [sdxl]"]);
    expect((await api.txt2img({ ...asked, override_settings })).info.sd_model_name).toBe("demo");
    expect((await api.txt2img(asked)).info.sd_model_name).toBe("noise");
    expect((await api.post("/sdapi/v1/options", { sd_model_checkpoint: "Demo" })).status).toBe(200);
    expect(await (await api.get("/sdapi/v1/options")).json()).toMatchObject({ sd_model_checkpoint: "demo [sdxl]" });
    expect((await api.txt2img(asked)).info.sd_model_name).toBe("demo");
    expect((await api.post("/sdapi/v1/options", { sd_model_checkpoint: "noise" })).status).toBe(200);
    const missing = await api.post("/sdapi/v1/options", { sd_model_checkpoint: "pony" });
    expect(missing.status).toBe(404);
    expect(await missing.text()).toContain("demo [sdxl]");
  });
});

describe("a model that is not loaded yet", () => {
  it("is described as it is afterwards", async () => {
    await using server = await startTestServer({ env: { ...ENV, LATENTCAST_MODEL: "noise,demo" } });
    await server.ready();
    const before = await healthOf(server);
    expect(before.models?.map(({ id, is_loaded: isLoaded }) => [id, isLoaded])).toEqual([
      ["noise", true],
      ["demo", false],
    ]);
    await make(server, { model: "demo" });
    const after = await healthOf(server);
    expect(before.models).toEqual(after.models?.map((model) => ({ ...model, is_loaded: model.id === "noise" })));
    expect(after.workers[0]?.models).toEqual(["noise", "demo"]);
  });
});

describe("a server with one model", () => {
  it("answers as it did before there could be several", async () => {
    await using server = await startTestServer({ env: ENV });
    await server.ready();
    const { image, warnings } = await make(server, { model: "pony" });
    expect(await modelOf(image.url)).toBe("noise");
    expect(warnings).toContain('model "pony" was ignored: this server has one model, "noise"');
    const health = await healthOf(server);
    expect(health).not.toHaveProperty("models");
    expect(health).not.toHaveProperty("unserved_models");
    expect(health.workers[0]).not.toHaveProperty("models");
  });
});

describe("models that do not fit beside each other", () => {
  it("take turns under load, and no request fails", async () => {
    await using server = await startTestServer({
      worker: "room_for_one",
      env: { ...ENV, LATENTCAST_MODEL: "noise,demo" },
    });
    await server.ready();
    const alone = await make(server, { model: "demo" });
    const names = ["noise", "demo"];
    const made = await Promise.all(
      Array.from({ length: 24 }, async (_, index) => {
        const model = names[index % 2];
        const input = { ...INPUT, model, seed: index, preview: index % 3 === 0 ? false : {} };
        if (index % 4 === 3) {
          const { events, broken } = await postStream(`${server.url}/stream`, input);
          expect(broken).toBeUndefined();
          return { model, image: (events.at(-1) as unknown as Made).image };
        }
        return { model, image: (await make(server, input)).image };
      }),
    );
    for (const { model, image } of made) expect(await modelOf(image.url)).toBe(model);
    await make(server, { model: "noise" });
    expect((await make(server, { model: "demo" })).image.url).toBe(alone.image.url);
    const { models, counters } = await healthOf(server);
    expect(models?.filter((each) => each.is_loaded)).toHaveLength(1);
    expect(counters).toMatchObject({ succeeded: 27, failed: 0, restarts: 0 });
  });
});

describe("the orchestrator in process", () => {
  it("draws with the model that an input names", async () => {
    const env = { ...process.env, ...ENV, LATENTCAST_CACHE_DIR: folder, LATENTCAST_DEVICES: "cpu" };
    const config = loadConfig({ env: { ...env, LATENTCAST_MODEL: "noise,demo" } });
    await using orchestrator = await startOrchestrator({ config, env, python: testPython() });
    const input = { ...INPUT, output_format: "png" } as const;
    expect(await modelOf(Buffer.from((await orchestrator.generate({ ...input, model: "demo" })).image.bytes))).toBe(
      "demo",
    );
    await expect(orchestrator.generate({ ...input, model: "pony" })).rejects.toMatchObject({ code: "invalid_request" });
  });
});
