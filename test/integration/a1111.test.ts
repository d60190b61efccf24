/** A1111's web API as programs call it: their requests replayed, and who is let in. */
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sdapi } from "../support/a1111.ts";
import { dataUri, twoColours } from "../support/images.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post, postStream } from "../support/sse.ts";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ worker: "fixture_worker" });
  await server.ready();
});
afterAll(() => server.close());

const api = () => sdapi(server.url);
const png = (base64: string) => sharp(Buffer.from(base64, "base64")).metadata();

describe("txt2img", () => {
  it("gives the same bytes for a seed as `/stream`, `/v1/images` and fal's shape", async () => {
    const common = { prompt: "a boat", negative_prompt: "fog", seed: 9 };
    const { images, info } = await api().txt2img({
      ...{ ...common, steps: 3, cfg_scale: 4, sampler_name: "DDIM", width: 128, height: 64 },
    });
    const params = { ...common, num_inference_steps: 3, guidance_scale: 4, output_format: "png" };
    const stream = await postStream(`${server.url}/stream`, { ...params, width: 128, height: 64, scheduler: "ddim" });
    expect(stream.events.at(-1)).toMatchObject({ image: { url: `data:image/png;base64,${images[0]}` } });
    const openai = { ...params, width: 128, height: 64, scheduler: "ddim" };
    const { data } = await (await post(`${server.url}/v1/images/generations`, openai)).json();
    expect(data[0].b64_json).toBe(images[0]);
    // fal's model has no scheduler to choose.
    const plain = await api().txt2img({ ...common, steps: 3, cfg_scale: 4, width: 128, height: 64 });
    const fal = { ...params, image_size: { width: 128, height: 64 }, sync_mode: true };
    const { images: theirs } = await (await post(`${server.url}/fal-ai/fast-sdxl`, fal)).json();
    expect(theirs[0].url).toBe(`data:image/png;base64,${plain.images[0]}`);
    expect(info).toMatchObject({ seed: 9, width: 128, height: 64, steps: 3, sampler_name: "DDIM", warnings: [] });
  });

  it("makes batches times iterations, and names the seed of each, which makes it again", async () => {
    const { images, info, parameters } = await api().txt2img({ prompt: "x", batch_size: 2, n_iter: 2, seed: 7 });
    expect(info.all_seeds).toEqual([7, 8, 9, 10]);
    expect(parameters).toMatchObject({ prompt: "x", batch_size: 2, n_iter: 2, seed: 7, steps: 6, width: 64 });
    expect(new Set(images).size).toBe(4);
    expect((await api().txt2img({ prompt: "x", seed: 9 })).images).toEqual([images[2]]);
    expect(info.infotexts[2]).toMatch(/^x\nSteps: 6, Sampler: Euler, .*Seed: 9, Size: 64x64, Model: fixture/);
  });

  it("draws a random seed for -1 and for none, and names it", async () => {
    for (const body of [{ prompt: "x", seed: -1 }, { prompt: "x" }]) {
      const { images, info } = await api().txt2img(body);
      expect((await api().txt2img({ prompt: "x", seed: info.seed })).images).toEqual(images);
    }
  });

  it("has no images for whoever wants none, and their seeds all the same", async () => {
    expect(await api().txt2img({ prompt: "x", seed: 3, send_images: false })).toMatchObject({
      images: [],
      info: { all_seeds: [3] },
    });
  });

  it("says in `info` what was not done as asked, and does the rest", async () => {
    const { status, info } = await api().txt2img({
      ...{
        prompt: "a <lora:paper:0.8> <hypernet:glow:1> cat, (cat:1.2)",
        width: 1000,
        height: 1000,
        sampler_name: "Heun",
      },
      ...{ scheduler: "Beta", script_name: "X/Y/Z plot", enable_hr: true, unheard_of: 1 },
    });
    expect([status, info.width, info.sampler_name]).toEqual([200, 64, "Euler"]);
    for (const part of [
      "this server has no LoRAs",
      "glow",
      "1000x1000",
      "Heun",
      "Beta",
      "X/Y/Z plot",
      "enable_hr",
      "unheard_of",
    ])
      expect(info.warnings.join("\n")).toContain(part);
  });

  it("of 10 kB of prompt is drawn", async () => {
    const { status, images } = await api().txt2img({ prompt: "a cat, ".repeat(1_500) });
    expect([status, images.length]).toEqual([200, 1]);
  });

  it("is refused in A1111's shape, by the field's name", async () => {
    const refused = async (body: object): Promise<unknown> => {
      const response = await api().post("/sdapi/v1/txt2img", body);
      return { status: response.status, ...(await response.json()) };
    };
    expect(await refused({ batch_size: 5, n_iter: 5 })).toEqual({
      ...{ status: 422, error: "invalid_request", body: "" },
      ...{ detail: expect.stringMatching(/^batch_size: /), errors: expect.any(String) },
    });
    expect(await refused({ steps: "many" })).toMatchObject({ detail: expect.stringMatching(/^steps: /) });
    const checkpoint = { override_settings: { sd_model_checkpoint: "v1-5-pruned" } };
    expect(await refused(checkpoint)).toMatchObject({ status: 404, detail: expect.stringContaining("fixture [sdxl]") });
  });

  it.each(["/sdapi/v1/extra-single-image", "/sdapi/v1/interrogate", "/sdapi/v2/txt2img"])(
    "has neighbours that are not served: %s",
    async (path) => {
      const response = await api().post(path, {});
      expect([response.status, await response.json()]).toMatchObject([404, { error: "not_found", body: "" }]);
    },
  );
});

describe("img2img", () => {
  it("starts from base64, a data URI or a file of this server, and does not repeat it unasked", async () => {
    const image = await twoColours(96, 64, "red", "blue");
    const { image: file } = await (await post(server.url, { prompt: "x", sync_mode: false })).json();
    for (const init of [image.toString("base64"), dataUri(image), file.url]) {
      const { status, images, info, parameters } = await api().img2img({
        ...{ prompt: "x", init_images: [init], mask: init, seed: 5, width: 128, height: 64, denoising_strength: 0.5 },
      });
      expect([status, info.seed, info.warnings]).toEqual([200, 5, []]);
      expect(await png(images[0] ?? "")).toMatchObject({ format: "png", width: 128, height: 64 });
      expect(parameters).toMatchObject({ init_images: null, mask: null, denoising_strength: 0.5 });
    }
  });

  it("has the shape of its image when no size is asked for", async () => {
    const image = await twoColours(128, 64, "red", "blue");
    const { images, parameters } = await api().img2img({
      ...{ init_images: [image.toString("base64")], include_init_images: true },
    });
    expect(parameters["init_images"]).toEqual([image.toString("base64")]);
    // An area of 64 × 64 pixels at 2 : 1, and no side below 64.
    expect(await png(images[0] ?? "")).toMatchObject({ width: 88, height: 64 });
  });

  it.each([
    ["no image", "bm8=", "init_images: it is not a readable"],
    ["somebody else's address", "http://127.0.0.1:1/x.png", "init_images: must be a data URI or a file"],
  ])("with %s is refused by the field's name", async (_name, init, detail) => {
    const response = await api().post("/sdapi/v1/img2img", { init_images: [init] });
    expect([response.status, await response.json()]).toMatchObject([422, { detail: expect.stringContaining(detail) }]);
  });
});

describe("what programs ask for when they start", () => {
  it.each([
    ...["samplers", "schedulers", "loras", "upscalers", "latent-upscale-modes", "sd-vae", "prompt-styles"],
    ...["face-restorers", "hypernetworks", "realesrgan-models", "script-info", "extensions", "sd-models"],
  ])("%s is a list", async (name) => {
    const response = await api().get(`/sdapi/v1/${name}`);
    expect([response.status, Array.isArray(await response.json())]).toEqual([200, true]);
  });

  it.each([
    ["/sdapi/v1/embeddings", { loaded: {}, skipped: {} }],
    ["/sdapi/v1/scripts", { txt2img: [], img2img: [] }],
    ["/sdapi/v1/cmd-flags", {}],
    ["/sdapi/v1/memory", {}],
    ["/sdapi/v1/system-info/status", {}],
    ["/queue/status", { queue_size: 0 }],
    ["/config", { version: expect.any(String) }],
  ])("%s has %j", async (path, expected) => {
    const response = await api().get(path);
    expect([response.status, await response.json()]).toMatchObject([200, expected]);
  });

  it("names the model by a title with `sdxl` in it, which the options accept back whole", async () => {
    const [model] = await (await api().get("/sdapi/v1/sd-models")).json();
    expect(model).toEqual({
      ...{ title: "fixture [sdxl]", model_name: "fixture", filename: "fixture" },
      ...{ hash: null, sha256: null, config: null },
    });
    const options = await (await api().get("/sdapi/v1/options")).json();
    expect(options).toMatchObject({ sd_model_checkpoint: model.title, samples_format: "png" });
    for (const given of [options, {}, { sd_model_checkpoint: "fixture" }, { sd_vae: "x", anything: [1] }]) {
      const response = await api().post("/sdapi/v1/options", given);
      expect([response.status, await response.json()]).toEqual([200, null]);
    }
    expect(await (await api().get("/sdapi/v1/options")).json()).toEqual(options);
  });

  it("refuses a checkpoint that is not here, naming what there is", async () => {
    const response = await api().post("/sdapi/v1/options", { sd_model_checkpoint: "v1-5-pruned" });
    const detail = 'The checkpoint "v1-5-pruned" is not here; there is "fixture [sdxl]".';
    expect([response.status, await response.json()]).toMatchObject([404, { error: "not_found", detail }]);
  });

  it("has no model and no checkpoint while it loads, and refuses to choose one", async () => {
    await using loading = await startTestServer({ worker: "never_ready" });
    const early = sdapi(loading.url);
    expect(await (await early.get("/sdapi/v1/sd-models")).json()).toEqual([]);
    expect(await (await early.get("/sdapi/v1/options")).json()).toMatchObject({ sd_model_checkpoint: null });
    expect((await early.post("/sdapi/v1/options", { sd_model_checkpoint: null })).status).toBe(200);
    const refused = await early.post("/sdapi/v1/options", { sd_model_checkpoint: "fixture" });
    expect([refused.status, (await refused.json()).error]).toEqual([503, "worker_unavailable"]);
  });

  it.each(["refresh-checkpoints", "refresh-vae", "refresh-loras"])("%s has nothing to do", async (name) => {
    const response = await api().postNothing(`/sdapi/v1/${name}`);
    expect([response.status, await response.json()]).toEqual([200, null]);
  });
});

describe("the requests of", () => {
  it("Open WebUI are answered: verify, list, choose by the whole options, draw", async () => {
    const headers = { authorization: "" };
    const caller = sdapi(server.url, headers);
    expect((await caller.get("/sdapi/v1/options")).ok).toBe(true);
    const [{ title }] = await (await caller.get("/sdapi/v1/sd-models")).json();
    const options = await (await caller.get("/sdapi/v1/options")).json();
    expect((await caller.post("/sdapi/v1/options", { ...options, sd_model_checkpoint: title })).ok).toBe(true);
    const { images, info } = await caller.txt2img({
      ...{ prompt: "a cat", batch_size: 1, width: 128, height: 128, steps: 3, negative_prompt: "dogs" },
      ...{ cfg_scale: 5.5, sampler_name: "Euler a", scheduler: "Automatic" },
    });
    expect(await png(images[0] ?? "")).toMatchObject({ format: "png", width: 128 });
    expect(info).toMatchObject({ warnings: [], sampler_name: "Euler a" });
  });

  it("LibreChat are answered with an image that has no prefix, though it splits at the comma", async () => {
    const { images, info } = await api().txt2img({
      ...{ prompt: "a cat", negative_prompt: "low quality", cfg_scale: 4.5, steps: 22, width: 256, height: 256 },
      sampler_index: "DPM++ 2M Karras",
    });
    expect(await png(images[0]?.split(",", 1)[0] ?? "")).toMatchObject({ format: "png", width: 256 });
    expect(info).toMatchObject({ seed: expect.any(Number), warnings: [], sampler_name: "DPM++ 2M" });
    expect(info.infotexts[0]).toContain("Schedule type: Karras");
  });

  it("SillyTavern are answered: lists, choosing a model and waiting for it, drawing", async () => {
    const lists = ["options", "sd-models", "samplers", "schedulers", "upscalers", "latent-upscale-modes", "sd-vae"];
    for (const name of lists) expect((await api().get(`/sdapi/v1/${name}`)).status).toBe(200);
    expect((await api().post("/sdapi/v1/options", { sd_model_checkpoint: "fixture [sdxl]" })).status).toBe(200);
    expect(await api().progress()).toMatchObject({ progress: 0, state: { job_count: 0 } });
    const { images, info } = await api().txt2img({
      ...{ prompt: "a cat", negative_prompt: "dogs", sampler_name: "DDIM", scheduler: "Automatic", steps: 3 },
      ...{ cfg_scale: 7, width: 256, height: 256, restore_faces: false, enable_hr: false, hr_upscaler: "Latent" },
      ...{ hr_scale: 2, denoising_strength: 0.7, hr_second_pass_steps: 0, seed: -1, clip_skip: 1, save_images: false },
      ...{ override_settings: { CLIP_stop_at_last_layers: 1, sd_vae: "Automatic" } },
      ...{ override_settings_restore_afterwards: true, send_images: true, do_not_save_grid: false },
      ...{ do_not_save_samples: false },
    });
    expect([images.length, info.warnings]).toEqual([1, []]);
    expect(await (await api().postNothing("/sdapi/v1/interrupt")).json()).toEqual({});
  });
});

describe("keys", () => {
  const basic = (user: string, password: string): string =>
    `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
  let locked: TestServer;
  beforeAll(async () => {
    locked = await startTestServer({ worker: "fixture_worker", env: { LATENTCAST_API_KEYS: "secret,pa:ss" } });
    await locked.ready();
  });
  afterAll(() => locked.close());

  it.each([
    [basic("anybody", "secret"), 200],
    [basic("", "secret"), 200],
    [basic("user", "pa:ss"), 200],
    ["Bearer secret", 200],
    ["Key secret", 200],
    [basic("secret", "wrong"), 401],
    [basic("secret", ""), 401],
    ["", 401],
  ])("sent as %j are answered %i", async (authorization, status) => {
    const caller = sdapi(locked.url, { authorization });
    const calls = [
      caller.get("/sdapi/v1/progress"),
      caller.get("/sdapi/v1/samplers"),
      caller.get("/queue/status"),
      caller.get("/config"),
      caller.postNothing("/sdapi/v1/interrupt"),
      caller.post("/sdapi/v1/options", {}),
      caller.post("/internal/progress", { id_task: "x" }),
      caller.post("/sdapi/v1/txt2img", { prompt: "x", steps: 1 }),
    ];
    expect((await Promise.all(calls)).map((response) => response.status)).toEqual(calls.map(() => status));
  });

  it("that are missing are asked for as Basic, in A1111's shape", async () => {
    const response = await sdapi(locked.url).get("/sdapi/v1/cmd-flags");
    expect(response.headers.get("www-authenticate")).toMatch(/^Basic realm=/);
    expect(await response.json()).toMatchObject({ error: "unauthorized", detail: expect.any(String) });
  });

  it("are checked by the login, as a form and as JSON", async () => {
    const login = async (url: string, password: string, isForm: boolean): Promise<number> => {
      const fields = { username: "x", password };
      const body = isForm ? new URLSearchParams(fields) : JSON.stringify(fields);
      const headers: Record<string, string> = isForm ? {} : { "content-type": "application/json" };
      return (await fetch(`${url}/login`, { method: "POST", body, headers })).status;
    };
    for (const isForm of [true, false]) {
      expect(await login(locked.url, "secret", isForm)).toBe(200);
      expect(await login(locked.url, "wrong", isForm)).toBe(400);
      expect(await login(server.url, "", isForm)).toBe(200);
    }
  });
});

describe("limits", () => {
  it("count what makes images, and let polls and interruptions through", async () => {
    const env = { LATENTCAST_RATE_LIMIT_PER_MINUTE: "2", LATENTCAST_BODY_LIMIT_BYTES: "4000000" };
    await using strict = await startTestServer({ worker: "fixture_worker", env });
    await strict.ready();
    const caller = sdapi(strict.url);
    const long = { prompt: "x", steps: 1, alwayson_scripts: { x: { args: ["A".repeat(2_000_000)] } } };
    expect((await caller.post("/sdapi/v1/txt2img", long)).status).toBe(200);
    expect((await caller.post("/sdapi/v1/txt2img", { prompt: "x".repeat(5_000_000) })).status).toBe(413);
    const refused = await caller.post("/sdapi/v1/txt2img", { prompt: "x" });
    expect([refused.status, await refused.json()]).toMatchObject([429, { error: "rate_limited" }]);
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    for (let poll = 0; poll < 3; poll += 1) {
      expect((await caller.get("/sdapi/v1/progress")).status).toBe(200);
      expect((await caller.post("/internal/progress", { id_task: "x" })).status).toBe(200);
      expect((await caller.postNothing("/sdapi/v1/interrupt")).status).toBe(200);
      expect((await caller.postNothing("/sdapi/v1/skip")).status).toBe(200);
    }
    const settings = await caller.post("/internal/progress", { id_task: "x".repeat(2_000_000) });
    expect([settings.status, (await settings.json()).error]).toEqual([413, "payload_too_large"]);
  });

  it("keep pages of strangers out, whichever path they call", async () => {
    const headers = { origin: "https://evil.example", "sec-fetch-site": "cross-site" };
    const caller = sdapi(server.url, headers);
    for (const path of ["txt2img", "img2img", "interrupt", "skip", "options", "refresh-checkpoints"]) {
      const response = await caller.postNothing(`/sdapi/v1/${path}`);
      expect([path, response.status, (await response.json()).error]).toEqual([path, 403, "forbidden"]);
    }
    expect((await caller.postNothing("/internal/progress")).status).toBe(403);
    expect((await caller.postNothing("/login")).status).toBe(403);
  });
});
