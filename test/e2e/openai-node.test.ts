/** OpenAI's own JavaScript client, as it comes from npm. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AuthenticationError, BadRequestError, InternalServerError, NotFoundError } from "openai";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { eventually } from "../support/eventually.ts";
import { withKeepAlive } from "../support/keep-alive.ts";
import { counted, cutAtEveryByte, made, openai, rejection, streamed } from "../support/openai.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post } from "../support/sse.ts";

vi.mock("../../src/http/sse.ts", async (importOriginal) => withKeepAlive(await importOriginal(), 20));

let server: TestServer;
let crashing: TestServer;
let pausing: TestServer;
/** Of files that workers wait for. */
let directory: string;
const servers = (): TestServer[] => [server, crashing, pausing];
beforeAll(async () => {
  [server, crashing, pausing] = await Promise.all([
    startTestServer({ worker: "fixture_worker" }),
    startTestServer({ worker: "crash_mid_job" }),
    startTestServer({ worker: "pause_before_preview" }),
  ]);
  await Promise.all(servers().map((each) => each.ready()));
  directory = await mkdtemp(join(tmpdir(), "latentcast-openai-"));
});
afterAll(async () => {
  await Promise.all(servers().map((each) => each.close()));
  await rm(directory, { recursive: true });
});

/** A partial image that is still being encoded when the next one comes is left out; so there is a quarter of a second between two. */
const STEPS_WITH_PARTIALS = 50;

const bytesOf = ({ b64_json = "" }: { b64_json?: string }): Buffer => Buffer.from(b64_json, "base64");
const kinds = (events: readonly { type: string }[]): string[] => events.map(({ type }) => type.split(".")[1] ?? "");

describe("generate", () => {
  it("gets several PNGs of the size asked for, each with its seed", async () => {
    const images = await made(openai(server.url), { prompt: "x", n: 2, size: "128x64", seed: 7 });
    expect(images.map(({ seed }) => seed)).toEqual([7, 8]);
    for (const image of images)
      expect(await sharp(bytesOf(image)).metadata()).toMatchObject({ format: "png", width: 128, height: 64 });
  });

  it("gets the same bytes as `POST /` for the same parameters, and its own fields are honoured", async () => {
    const fields = { prompt: "a boat", seed: 9, negative_prompt: "fog", scheduler: "ddim" };
    const [image] = await made(openai(server.url), { ...fields, steps: 3, cfg: 4, size: "auto" });
    const plain = { ...fields, num_inference_steps: 3, guidance_scale: 4, output_format: "png" };
    const { image: ours } = await (await post(server.url, plain)).json();
    expect(`data:image/png;base64,${image?.b64_json}`).toBe(ours.url);
    const { exif } = await sharp(bytesOf(image ?? {})).metadata();
    expect(exif?.toString("latin1")).toMatch(/"negative_prompt":"fog",.*"num_inference_steps":3,/);
  });

  it("tells what was not done as asked", async () => {
    const answer = await openai(server.url).images.generate({ model: "gpt-image-1", prompt: "x", quality: "low" });
    expect(answer).toMatchObject({
      model: "fixture",
      quality: "low",
      size: "64x64",
      output_format: "png",
      warnings: [expect.stringContaining("gpt-image-1")],
      _request_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
  });

  it.each([
    ["sdxl", null, "b64_json"],
    ["gpt-image-1", null, "b64_json"],
    ["dall-e-3", null, "url"],
    ["dall-e-3", "b64_json", "b64_json"],
    ["sdxl", "url", "url"],
  ] as const)("of the model %s with the format %s gets only %s", async (model, format, key) => {
    const [image] = await made(openai(server.url), { prompt: "x", model, response_format: format, seed: 1 });
    expect(Object.keys(image ?? {}).toSorted()).toEqual([key, "seed"].toSorted());
    if (key === "b64_json") return;
    expect(image?.url).toMatch(new RegExp(`^${server.url}/files/.+\\.png$`));
    const file = await fetch(image?.url ?? "");
    expect(await sharp(await file.arrayBuffer()).metadata()).toMatchObject({ format: "png", width: 64 });
  });

  it.each(["jpeg", "webp"] as const)("gets %s as small as its compression says", async (output_format) => {
    const sizes = await Promise.all(
      [1, 100].map(async (output_compression) => {
        const [image] = await made(openai(server.url), { prompt: "x", seed: 1, output_format, output_compression });
        expect(await sharp(bytesOf(image ?? {})).metadata()).toMatchObject({ format: output_format });
        return bytesOf(image ?? {}).byteLength;
      }),
    );
    expect(sizes[0]).toBeLessThan(sizes[1] ?? 0);
  });

  it("is answered without `/v1`, with doubled slashes and with Azure's query as well", async () => {
    for (const address of ["/images/generations", "//v1//images/generations", "/v1/images/generations?api-version=1"])
      expect((await post(`${server.url}${address}`, { prompt: "x", steps: 1 })).status).toBe(200);
  });
});

describe("a stream", () => {
  it.each([
    [0, "png"],
    [1, "png"],
    [3, "png"],
    [3, "jpeg"],
    [3, "webp"],
  ] as const)("with %i partials in %s has them in order, then the image", async (partials, format) => {
    const asked = { prompt: "x", steps: STEPS_WITH_PARTIALS, partial_images: partials, output_format: format };
    const events = await streamed(openai(server.url), asked);
    expect(kinds(events)).toEqual([...Array.from({ length: partials }, () => "partial_image"), "completed"]);
    const indexes = events.map((event) => ("partial_image_index" in event ? event.partial_image_index : "last"));
    expect(indexes).toEqual([...Array.from({ length: partials }, (_, index) => index), "last"]);
    for (const event of events) {
      const { width, height, format: found } = await sharp(bytesOf(event)).metadata();
      expect([found, `${width}x${height}`]).toEqual([format, event.size]);
    }
  });

  it("ends with the bytes that the plain call gets for its seed", async () => {
    const events = await streamed(openai(server.url), { prompt: "x", n: 2, seed: 3, partial_images: 1 });
    const images = await made(openai(server.url), { prompt: "x", n: 2, seed: 3 });
    const finished = events.filter(({ type }) => type.endsWith("completed"));
    expect(finished.map(({ b64_json }) => b64_json)).toEqual(images.map(({ b64_json }) => b64_json));
    expect(finished.map(({ seed, image_index }) => [seed, image_index])).toEqual([
      [3, 0],
      [4, 1],
    ]);
  });

  it("is read whole when the network cuts it at every byte", async () => {
    const asked = { prompt: "日本\u2028", seed: 5, steps: STEPS_WITH_PARTIALS, partial_images: 2 };
    const timeless = (event: object): object => ({ ...event, created_at: 0 });
    const cut = await streamed(cutAtEveryByte(server.url), asked);
    expect(cut.map(timeless)).toEqual((await streamed(openai(server.url), asked)).map(timeless));
  });

  it("is one of twenty at once, each with its own image", async () => {
    const seeds = Array.from({ length: 20 }, (_, index) => index);
    const all = await Promise.all(
      seeds.map((seed) => streamed(openai(server.url), { prompt: "x", seed, partial_images: 1, steps: 2 })),
    );
    expect(all.map((events) => events.at(-1)?.seed)).toEqual(seeds);
    expect(new Set(all.map((events) => events.at(-1)?.b64_json)).size).toBe(20);
  });

  it("that is left at the first partial frees its worker", async () => {
    await using slow = await startTestServer({
      worker: "one_at_a_time",
      env: { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.1" },
    });
    await slow.ready();
    const stream = await openai(slow.url).images.generate({
      ...{ prompt: "x", stream: true, partial_images: 3 },
      ...{ steps: 50 },
    });
    for await (const event of stream) {
      expect(event.type).toBe("image_generation.partial_image");
      break;
    }
    await eventually(() => expect(slow.devices()).toMatchObject({ cancelled: 1, held: 0 }));
  });

  it("is kept alive by comments while it waits, and succeeds", async () => {
    const release = join(directory, "go");
    let pings = 0;
    const client = openai(pausing.url, {
      fetch: async (input, init) => {
        const response = await fetch(input, init);
        const watch = new TransformStream<Uint8Array, Uint8Array>({
          transform: async (chunk, controller) => {
            if (Buffer.from(chunk).includes(": ping") && ++pings === 3) await writeFile(release, "");
            controller.enqueue(chunk);
          },
        });
        return new Response(response.body?.pipeThrough(watch) ?? null, response);
      },
    });
    const asked = { prompt: `until ${release}`, steps: STEPS_WITH_PARTIALS, partial_images: 2 };
    const events = await streamed(client, asked);
    expect(kinds(events)).toEqual(["partial_image", "partial_image", "completed"]);
    expect(pings).toBeGreaterThanOrEqual(3);
  });

  it("whose worker dies twice fails with our code, and is not asked for again", async () => {
    const { client, statuses } = counted(crashing.url);
    const error = await rejection(streamed(client, { prompt: "crash always", partial_images: 3 }));
    expect(error).toMatchObject({
      code: "worker_crashed",
      type: "server_error",
      message: expect.stringMatching(/twice/),
    });
    expect(statuses).toEqual([200]);
  });

  it("whose worker dies once shows no partial twice, and succeeds", async () => {
    const events = await streamed(openai(crashing.url), {
      prompt: "crash once",
      partial_images: 3,
      steps: STEPS_WITH_PARTIALS,
    });
    expect(kinds(events)).toEqual(["partial_image", "partial_image", "partial_image", "completed"]);
  });
});

// They wait for most of their time, as those about repetition do.
describe.concurrent("a stream under way", () => {
  const slowly = { worker: "one_at_a_time", env: { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.1" } };
  const begin = async (subject: TestServer, steps = 6) => {
    await subject.ready();
    const asked = { prompt: "x", stream: true, partial_images: 3 } as const;
    const stream = await openai(subject.url).images.generate({ ...asked, ...{ steps } });
    return stream[Symbol.asyncIterator]();
  };

  it("is read to its end though the reader paused until the image was finished", async () => {
    await using subject = await startTestServer(slowly);
    const events = await begin(subject);
    await events.next();
    await eventually(() => expect(subject.jobs.snapshot().counters.succeeded).toBe(1));
    const rest: string[] = [];
    for (let next = await events.next(); next.done !== true; next = await events.next()) rest.push(next.value.type);
    expect(rest.at(-1)).toBe("image_generation.completed");
  });

  it("is finished by a server that drains, while newcomers are refused", async () => {
    await using subject = await startTestServer(slowly);
    const events = await begin(subject, 20);
    await events.next();
    const drained = subject.drain();
    const refused = await rejection(made(openai(subject.url, { maxRetries: 0 }), { prompt: "x" }));
    expect(refused).toMatchObject({ status: 503, code: "draining" });
    const rest: string[] = [];
    for (let next = await events.next(); next.done !== true; next = await events.next()) rest.push(next.value.type);
    expect(rest.at(-1)).toBe("image_generation.completed");
    await drained;
  });

  it("fails with our code when the server ends at once", async () => {
    await using subject = await startTestServer(slowly);
    const events = await begin(subject, 50);
    await events.next();
    const closed = subject.close();
    const readOn = async (): Promise<void> => {
      for (let next = await events.next(); next.done !== true; next = await events.next());
    };
    expect(await rejection(readOn())).toMatchObject({ code: "draining", type: "server_error" });
    await closed;
  });
});

describe("the models", () => {
  it("are the one that is loaded", async () => {
    const client = openai(server.url);
    const { data } = await client.models.list();
    expect(data).toEqual([{ id: "fixture", object: "model", created: expect.any(Number), owned_by: "latentcast" }]);
    expect(await client.models.retrieve("fixture")).toEqual(expect.objectContaining(data[0]));
  });

  it("of another name are not found, with a slash in it or without", async () => {
    for (const name of ["gpt-image-1", "stabilityai/sdxl"]) {
      const error = await rejection(openai(server.url).models.retrieve(name));
      expect(error).toBeInstanceOf(NotFoundError);
      expect(error).toMatchObject({ code: "not_found", message: expect.stringContaining(name) });
    }
  });
});

describe("what is refused", () => {
  it.each([
    [{ size: "1x1" }, "size"],
    [{ size: "1024x1024" }, "size"],
    [{ n: 11 }, "n"],
    [{ output_format: "gif" }, "output_format"],
    [{ background: "transparent" }, "background"],
    [{ steps: 51 }, "steps"],
  ])("%j is a BadRequestError for the field, at once, with a stream and without", async (body, param) => {
    for (const stream of [true, false]) {
      const { client, statuses } = counted(server.url);
      // What is wrong is not in the client's types either.
      const error = await rejection(client.images.generate({ prompt: "x", ...body, stream } as never));
      expect(error).toBeInstanceOf(BadRequestError);
      expect(error).toMatchObject({ param, code: "invalid_request", message: expect.stringContaining(param) });
      expect(error.requestID).toMatch(/^[0-9a-f-]{36}$/);
      expect(statuses).toEqual([400]);
    }
  });

  it("tells its message, whatever refuses it", async () => {
    await using strict = await startTestServer({
      worker: "fixture_worker",
      env: { LATENTCAST_BODY_LIMIT_BYTES: "65536", LATENTCAST_RATE_LIMIT_PER_MINUTE: "5" },
    });
    await strict.ready();
    const client = openai(strict.url, { maxRetries: 0 });
    const raw = (body: string, type: string): Promise<unknown> =>
      client.post("/images/generations", { body, headers: { "content-type": type } });
    const seen: Record<string, [number | undefined, unknown, string]> = {};
    const see = async (name: string, call: Promise<unknown>): Promise<void> => {
      const { status, code, message } = await rejection(call);
      seen[name] = [status, code, message];
    };
    await see("bad JSON", raw("{", "application/json"));
    await see("media type", raw("x", "text/plain"));
    await see("too large", made(client, { prompt: "x".repeat(70_000) }));
    await see("missing path", client.get("/nothing"));
    await see("method", client.get("/images/generations"));
    await see("edits", client.post("/images/edits", { body: {} }));
    await see("variations", client.post("/images/variations", { body: {} }));
    await see("limit", made(client, { prompt: "x" }));
    expect(seen).toEqual({
      "bad JSON": [400, "bad_request", expect.stringContaining("not JSON")],
      "media type": [415, "unsupported_media_type", expect.stringContaining("application/json")],
      "too large": [413, "payload_too_large", expect.stringContaining("too large")],
      "missing path": [404, "not_found", expect.stringContaining("/v1/nothing")],
      method: [405, "method_not_allowed", expect.stringContaining("POST")],
      edits: [400, "invalid_request", expect.stringContaining("images")],
      variations: [400, "invalid_request", expect.stringContaining("image")],
      limit: [429, "rate_limited", expect.stringContaining("Too many requests")],
    });
  });

  it("while the server drains is a 503", async () => {
    await using ending = await startTestServer({ worker: "fixture_worker" });
    await ending.jobs.close();
    const error = await rejection(made(openai(ending.url, { maxRetries: 0 }), { prompt: "x" }));
    expect(error).toBeInstanceOf(InternalServerError);
    expect(error).toMatchObject({ status: 503, code: "draining", message: expect.stringContaining("shutting down") });
  });
});

describe("keys", () => {
  it("are taken as Bearer, as Basic's password and as Azure's header; a wrong one is an AuthenticationError", async () => {
    await using locked = await startTestServer({ worker: "fixture_worker", env: { LATENTCAST_API_KEYS: "secret" } });
    await locked.ready();
    const models = (headers: Record<string, string | null>, apiKey = "secret"): Promise<unknown> =>
      openai(locked.url, { apiKey, defaultHeaders: headers }).models.list();
    const basic = `Basic ${Buffer.from("me:secret").toString("base64")}`;
    await expect(models({})).resolves.toBeDefined();
    await expect(models({ authorization: basic })).resolves.toBeDefined();
    await expect(models({ authorization: null, "api-key": "secret" })).resolves.toBeDefined();
    for (const wrong of [models({}, "wrong"), models({ authorization: null, "api-key": "wrong" })]) {
      const error = await rejection(wrong);
      expect(error).toBeInstanceOf(AuthenticationError);
      expect(error).toMatchObject({ code: "unauthorized", type: "authentication_error" });
    }
  });
});

describe.concurrent("repetition", () => {
  it("is left alone where it cannot mend", async () => {
    await using failing = await startTestServer({ worker: "fails_after_preview" });
    await failing.ready();
    for (const code of ["out_of_memory", "numerical_error"]) {
      const { client, statuses } = counted(failing.url);
      expect(await rejection(made(client, { prompt: code }))).toMatchObject({ code });
      expect(statuses).toHaveLength(1);
    }
  });

  it("after a full queue succeeds", async () => {
    const env = { LATENTCAST_QUEUE_LIMIT: "0" };
    await using full = await startTestServer({ worker: "pause_before_preview", env });
    await full.ready();
    const release = join(directory, "make room");
    const busy: Promise<unknown>[] = [];
    for (let held = 1; held <= full.devices().count; held += 1) {
      busy.push(streamed(openai(full.url), { prompt: `until ${release}`, partial_images: 1 }));
      await eventually(() => expect(full.devices().held).toBe(held));
    }
    const { client, statuses } = counted(full.url, { maxRetries: 10 });
    const late = made(client, { prompt: "x", steps: 1 });
    await eventually(() => expect(statuses[0]).toBe(429));
    await writeFile(release, "");
    expect(await late).toHaveLength(1);
    expect(statuses.at(-1)).toBe(200);
    await Promise.all(busy);
  });

  it("after a timeout of the client finds the earlier attempt stopped: one runs at a time, none is left", async () => {
    await using slow = await startTestServer({
      worker: "one_at_a_time",
      env: { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.2" },
    });
    await slow.ready();
    const { client, statuses } = counted(slow.url, { timeout: 2_000 });
    let most = 0;
    const watch = setInterval(() => (most = Math.max(most, slow.jobs.snapshot().queue.unfinished)), 5);
    const error = await rejection(made(client, { prompt: "x", steps: 50 }));
    clearInterval(watch);
    expect([error.constructor.name, statuses]).toEqual(["APIConnectionTimeoutError", ["failed", "failed", "failed"]]);
    expect(most).toBe(1);
    await eventually(() => expect([slow.jobs.snapshot().queue.unfinished, slow.devices().held]).toEqual([0, 0]));
    expect(slow.jobs.snapshot().counters).toMatchObject({ accepted: 3, cancelled: 3, succeeded: 0 });
  });
});
