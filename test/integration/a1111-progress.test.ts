/** Whose request A1111's progress shows and whose its interrupt ends; and what becomes of requests when something breaks. */
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import fc from "fast-check";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sdapi, type Progress } from "../support/a1111.ts";
import { eventually } from "../support/eventually.ts";
import { useCommandLine } from "../support/command-line.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { postStream } from "../support/sse.ts";

const LONG = { prompt: "dunes", steps: 50, seed: 1 };
const key = (name: string) => ({ authorization: `Bearer ${name}` });

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({
    worker: "paints_landscapes",
    env: { LATENTCAST_API_KEYS: "mine,theirs", LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.2" },
  });
  await server.ready();
});
afterAll(() => server.close());

const mine = () => sdapi(server.url, key("mine"));
const theirs = () => sdapi(server.url, key("theirs"));
const jpeg = (base64: string) => sharp(Buffer.from(base64, "base64")).metadata();

/** Asks until the image so far is another than `seen`. */
function nextImage(caller: ReturnType<typeof sdapi>, seen: string | null = null): Promise<Progress> {
  return eventually(async () => {
    const progress = await caller.progress();
    expect(progress.current_image).not.toBeNull();
    expect(progress.current_image).not.toBe(seen);
    return progress;
  }, 60_000);
}

const isIdle = (progress: Progress): void =>
  expect(progress).toMatchObject({ progress: 0, eta_relative: 0, current_image: null, state: { job_count: 0 } });

describe("the progress", () => {
  it("shows the image as it forms, and nothing before and after", async () => {
    isIdle(await mine().progress());
    const drawn = mine().txt2img({ prompt: "a lake", steps: 12, width: 128, height: 64 });
    const first = await nextImage(mine());
    const second = await nextImage(mine(), first.current_image);
    expect(first.progress).toBeGreaterThan(0.01);
    expect(second.progress).toBeGreaterThan(first.progress);
    expect(second).toMatchObject({ state: { job_count: 1, sampling_steps: 12 } });
    expect(await jpeg(second.current_image ?? "")).toMatchObject({ format: "jpeg", width: 128, height: 64 });
    const skipped = await (await mine().get("/sdapi/v1/progress?skip_current_image=true")).json();
    expect(skipped).toMatchObject({ current_image: null, state: { job_count: 1 } });
    await drawn;
    isIdle(await mine().progress());
  });

  it("of each caller is that of its own request", async () => {
    const requests = [mine().txt2img({ ...LONG, seed: 1 }), theirs().txt2img({ ...LONG, seed: 2 })];
    const images = await Promise.all([nextImage(mine()), nextImage(theirs())]);
    // The sky of one is not the sky of the other.
    const colours = await Promise.all(
      images.map(async ({ current_image }) => {
        const { dominant } = await sharp(Buffer.from(current_image ?? "", "base64")).stats();
        return JSON.stringify(dominant);
      }),
    );
    expect(new Set(colours).size).toBe(2);
    await mine().postNothing("/sdapi/v1/interrupt");
    expect((await theirs().progress()).state.job_count).toBe(1);
    isIdle(await mine().progress());
    await theirs().postNothing("/sdapi/v1/skip");
    expect((await Promise.all(requests)).map(({ info }) => info.seed)).toEqual([1, 2]);
  });

  it("is not of requests in other shapes, nor does an interrupt end those", async () => {
    const stream = postStream(
      `${server.url}/stream`,
      { prompt: "dunes", num_inference_steps: 12, preview: { every: 1 } },
      { headers: { "content-type": "application/json", ...key("mine") } },
    );
    await eventually(() => expect(server.jobs.snapshot().workers).toMatchObject([{ jobs: 1 }]));
    isIdle(await mine().progress());
    await mine().postNothing("/sdapi/v1/interrupt");
    expect((await stream).events.at(-1)).toHaveProperty("timings");
  });

  it("by name is that of the request with the name, as long as it is its caller's", async () => {
    const ask = async (caller: ReturnType<typeof sdapi>, more: object = {}) =>
      (await caller.post("/internal/progress", { id_task: "task(one)", ...more })).json();
    const unknown = { active: false, queued: false, completed: false };
    expect(await ask(mine())).toMatchObject(unknown);
    const requests = [mine().txt2img({ ...LONG, force_task_id: "task(one)" }), mine().txt2img(LONG)];
    const seen = await eventually(async () => {
      const answer = await ask(mine());
      expect(answer).toMatchObject({ active: true, live_preview: expect.stringMatching(/^data:image\/jpeg;base64,/) });
      return answer;
    });
    expect(seen.progress).toBeGreaterThan(0);
    expect(await ask(theirs())).toMatchObject(unknown);
    await mine().postNothing("/sdapi/v1/interrupt");
    await Promise.all(requests);
    await eventually(async () => expect(await ask(mine())).toMatchObject({ ...unknown, completed: true }));
    expect(await ask(theirs())).toMatchObject(unknown);
    expect((await mine().post("/internal/progress", {})).status).toBe(422);
  });
});

describe("an interrupted request", () => {
  it("answers 200 with the image so far as a PNG, and frees its worker", async () => {
    const drawn = mine().txt2img({ ...LONG, batch_size: 2, width: 128, height: 64 });
    await nextImage(mine());
    expect(await (await mine().postNothing("/sdapi/v1/interrupt")).json()).toEqual({});
    const { status, images, info } = await drawn;
    expect([status, images.length, info.all_seeds]).toEqual([200, 2, [1, 2]]);
    for (const image of images)
      expect(await sharp(Buffer.from(image, "base64")).metadata()).toMatchObject({
        format: "png",
        width: 128,
        height: 64,
      });
    expect(info.warnings).toEqual([expect.stringMatching(/^interrupted after step \d+ of 50$/)]);
    await eventually(() => expect(server.jobs.snapshot().workers).toMatchObject([{ jobs: 0 }]));
  });

  it("that waits answers 200 without an image, and is never drawn", async () => {
    await using busy = await startTestServer({ worker: "one_at_a_time", env: { LATENTCAST_API_KEYS: "mine,theirs" } });
    await busy.ready();
    const other = sdapi(busy.url, key("theirs")).txt2img({ prompt: "slow", steps: 15 });
    await eventually(() => expect(busy.jobs.snapshot().workers).toMatchObject([{ jobs: 1 }]));
    const caller = sdapi(busy.url, key("mine"));
    const waiting = caller.txt2img({ prompt: "x", seed: 4 });
    await eventually(async () => expect((await caller.progress()).progress).toBe(0.01));
    await caller.postNothing("/sdapi/v1/interrupt");
    expect(await waiting).toMatchObject({
      ...{ status: 200, images: [], info: { seed: 4, warnings: ["interrupted before its first step"] } },
    });
    expect((await other).images).toHaveLength(1);
    expect(busy.jobs.snapshot().counters).toMatchObject({ accepted: 2, succeeded: 1, cancelled: 1 });
  });

  it("that waits for a model answers 200 as well", async () => {
    await using loading = await startTestServer({ worker: "never_ready" });
    const caller = sdapi(loading.url);
    const waiting = caller.txt2img({ prompt: "x" });
    await eventually(async () => expect((await caller.progress()).state.job_count).toBe(1));
    await caller.postNothing("/sdapi/v1/skip");
    expect(await waiting).toMatchObject({ status: 200, images: [] });
  });
});

describe("a request", () => {
  it("whose client leaves is cancelled, and its interrupt, sent as well, ends nobody else's", async () => {
    const leaving = new AbortController();
    const left = mine()
      .txt2img(LONG, { signal: leaving.signal })
      .then(
        () => "answered",
        () => "left",
      );
    await nextImage(mine());
    const others = theirs().txt2img({ prompt: "x", steps: 3 });
    leaving.abort();
    expect((await mine().postNothing("/sdapi/v1/interrupt")).status).toBe(200);
    expect(await left).toBe("left");
    expect(await others).toMatchObject({ status: 200, images: [expect.any(String)] });
    await eventually(async () => isIdle(await mine().progress()));
    await eventually(() => expect(server.jobs.snapshot().workers).toMatchObject([{ jobs: 0 }]));
  });

  it("whose worker dies once is drawn all the same, and whose worker dies twice fails in A1111's shape", async () => {
    await using crashing = await startTestServer({ worker: "crash_mid_job" });
    await crashing.ready();
    const caller = sdapi(crashing.url);
    const { images, status } = await caller.txt2img({ prompt: "crash once", seed: 7 });
    // The second worker is not of the kind that crashes.
    expect([status, images]).toEqual([200, (await caller.txt2img({ prompt: "crash once", seed: 7 })).images]);
    const failed = await caller.post("/sdapi/v1/txt2img", { prompt: "crash always" });
    expect([failed.status, await failed.json()]).toMatchObject([
      503,
      { error: "worker_crashed", detail: expect.stringContaining("twice"), body: "" },
    ]);
    isIdle(await caller.progress());
  });

  it("is read whole by a reader that pauses, while others are served", async () => {
    const { succeeded } = server.jobs.snapshot().counters;
    const { hostname, port } = new URL(server.url);
    const body = JSON.stringify({ prompt: "x", steps: 1, seed: 3, batch_size: 4, width: 512, height: 512 });
    const socket = connect(Number(port), hostname);
    const head = ["POST /sdapi/v1/txt2img HTTP/1.1", "host: localhost", "connection: close", "authorization: Key mine"];
    socket.pause();
    socket.write([...head, "content-type: application/json", `content-length: ${body.length}`, "", body].join("\r\n"));
    await eventually(() => expect(server.jobs.snapshot().counters.succeeded).toBe(succeeded + 1));
    expect(await theirs().txt2img({ prompt: "x", steps: 1 })).toMatchObject({ status: 200 });
    const answer = (await text(socket)).split("\r\n\r\n").slice(1).join("\r\n\r\n");
    expect(JSON.parse(answer).images).toHaveLength(4);
  });

  it("with anything in it is drawn or refused as A1111 refuses, and harms nobody", async () => {
    const names = [
      "prompt",
      "seed",
      "steps",
      "cfg_scale",
      "width",
      "batch_size",
      "sampler_name",
      "scheduler",
      "styles",
    ];
    const more = [
      "override_settings",
      "alwayson_scripts",
      "init_images",
      "mask",
      "force_task_id",
      "send_images",
      "__proto__",
    ];
    const value = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.integer({ min: -2, max: 9 }), fc.constant("1"));
    const body = fc.dictionary(fc.constantFrom(...names, ...more, "clip_skip", "denoising_strength"), value);
    await using subject = await startTestServer({
      worker: "fixture_worker",
      env: { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0", LATENTCAST_MAX_PIXELS: "16384" },
    });
    await subject.ready();
    const caller = sdapi(subject.url);
    const paths = fc.constantFrom("/sdapi/v1/txt2img", "/sdapi/v1/img2img", "/sdapi/v1/options", "/internal/progress");
    const law = fc.asyncProperty(paths, fc.oneof(body, fc.jsonValue()), async (path, given) => {
      const response = await caller.post(path, given);
      const answer = await response.json();
      expect([200, 404, 422]).toContain(response.status);
      if (response.status !== 200) expect(answer).toMatchObject({ detail: expect.stringMatching(/./), body: "" });
    });
    await fc.assert(law, { numRuns: 300, seed: 1 });
    expect(await caller.txt2img({ prompt: "x" })).toMatchObject({ status: 200, images: [expect.any(String)] });
  });
});

describe("a server that is stopped", () => {
  const { serve } = useCommandLine();

  it("finishes the request under way, still answers for its progress, and takes no more", async () => {
    const { url, child, exit } = await serve({ env: { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.2" } });
    await eventually(async () => expect((await fetch(`${url}/ready`)).status).toBe(200), 60_000);
    const caller = sdapi(url);
    const drawn = caller.txt2img({ prompt: "x", steps: 30, seed: 2 });
    await nextImage(caller);
    child.kill("SIGTERM");
    await eventually(async () => expect((await fetch(`${url}/ready`)).status).toBe(503));
    expect((await caller.progress()).state.job_count).toBe(1);
    const late = await caller.post("/sdapi/v1/txt2img", { prompt: "late" });
    expect([late.status, await late.json()]).toMatchObject([503, { error: "draining" }]);
    const { status, images, info } = await drawn;
    expect([status, images.length, info.warnings]).toEqual([200, 1, []]);
    expect(await exit).toBe(0);
  });
});
