/** fal's own JavaScript client, as it comes from npm, against a real server: run and stream. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ApiError, createFalClient, ValidationError, type FalClient } from "@fal-ai/client";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { eventually } from "../support/eventually.ts";
import { withKeepAlive } from "../support/keep-alive.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

vi.mock("../../src/http/sse.ts", async (importOriginal) => withKeepAlive(await importOriginal(), 20));

const id = "local/sdxl";

let server: TestServer;
let fal: FalClient;
beforeAll(async () => {
  server = await startTestServer({ worker: "fixture_worker" });
  await server.ready();
  fal = clientOf(server);
});
afterAll(() => server.close());

function clientOf({ url }: TestServer, fetch?: typeof globalThis.fetch): FalClient {
  return createFalClient({
    credentials: "test:key",
    proxyUrl: { url: `${url}/fal`, when: "always" },
    ...(fetch === undefined ? {} : { fetch }),
  });
}

async function thrownBy(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error("nothing was thrown");
    },
    (error: unknown) => error,
  );
}

describe("fal.run", () => {
  it("gives the image, the seed and the request's id", async () => {
    const { data, requestId } = await fal.run(id, { input: { prompt: "x", seed: 1 } });
    expect(data).toMatchObject({ seed: 1, prompt: "x", image: { width: 64, height: 64, content_type: "image/jpeg" } });
    expect(data.image.url).toMatch(/^data:image\/jpeg;base64,/);
    expect(requestId).not.toBe("");
  });

  it("rejects an empty input with the field's problem and a message that says more than the status", async () => {
    const error = await thrownBy(fal.run(id, { input: {} }));
    expect(error).toBeInstanceOf(ValidationError);
    expect((error as ValidationError).getFieldErrors("prompt")).toHaveLength(1);
    expect((error as ValidationError).message).toContain("prompt");
  });

  it("takes a missing body for an empty input", async () => {
    const error = await thrownBy(fal.run(id, {}));
    expect(error).toBeInstanceOf(ValidationError);
    expect((error as ValidationError).status).toBe(422);
  });

  it("takes a data URI of five megabytes in a field it does not know", async () => {
    const uri = `data:image/png;base64,${"A".repeat(5 * 2 ** 20)}`;
    const { data } = await fal.run(id, { input: { prompt: "x", reference: uri } });
    expect(data.warnings).toEqual(['unknown field "reference" was ignored']);
  });
});

describe("fal.stream", () => {
  it("yields previews and is done with the shape of fal.run", async () => {
    const stream = await fal.stream(id, { input: { prompt: "x", seed: 3 } });
    const events: unknown[] = [];
    for await (const event of stream) events.push(event);
    const result = await stream.done();
    const { data } = await fal.run(id, { input: { prompt: "x", seed: 3 } });
    expect(events.length).toBeGreaterThanOrEqual(2);
    expect({ ...result, timings: null }).toEqual({ ...data, timings: null });
    expect(stream.requestId).toBeTruthy();
  });

  it("keeps every character of a prompt when the network cuts frames to pieces", async () => {
    const prompt = "夕焼け\u2028と\u{1f305} \u0085 naïve";
    const sliced = clientOf(server, async (url, init) => inPieces(await fetch(url, init), 3));
    const result = await (await sliced.stream(id, { input: { prompt } })).done();
    expect(result.prompt).toBe(prompt);
  });

  it("rejects an empty input as a ValidationError that names the field", async () => {
    const stream = await fal.stream(id, { input: {} });
    const error = await thrownBy(stream.done());
    expect(error).toBeInstanceOf(ValidationError);
    expect((error as ValidationError).getFieldErrors("prompt")).toHaveLength(1);
  });

  it("stops the work when it is aborted after a preview", async () => {
    const before = server.devices().cancelled;
    const stream = await fal.stream(id, { input: { prompt: "x", num_inference_steps: 50, preview: { every: 1 } } });
    const done = stream.done();
    stream.on("data", () => stream.abort());
    expect((await done).preview.step).toBeLessThan(49);
    await eventually(() => expect(server.devices()).toMatchObject({ cancelled: before + 1, held: 0 }));
  });

  it("gets bytes while it waits long for a preview, and stumbles over none of them", async () => {
    const directory = await mkdtemp(join(tmpdir(), "latentcast-pause-"));
    const release = join(directory, "go");
    const pausing = await startTestServer({ worker: "pause_before_preview" });
    try {
      await pausing.ready();
      let pings = 0;
      const watching = clientOf(pausing, async (url, init) => {
        const response = await fetch(url, init);
        const [theirs, ours] = response.body!.tee();
        void (async () => {
          for await (const chunk of ours)
            if (new TextDecoder().decode(chunk).startsWith(": ping") && ++pings === 3) await writeFile(release, "");
        })();
        return new Response(theirs, response);
      });
      const stream = await watching.stream(id, { input: { prompt: `until ${release}` } });
      const errors: unknown[] = [];
      stream.on("error", (error) => errors.push(error));
      expect(await stream.done()).toMatchObject({ prompt: `until ${release}` });
      expect(pings).toBeGreaterThanOrEqual(3);
      expect(errors).toEqual([]);
    } finally {
      await pausing.close();
      await rm(directory, { recursive: true });
    }
  });

  it("rejects when the run fails, after an event that says why", async () => {
    await using failing = await startTestServer({ worker: "fails_after_preview" });
    await failing.ready();
    const stream = await clientOf(failing).stream(id, { input: { prompt: "out_of_memory" } });
    const events: Record<string, unknown>[] = [];
    stream.on("data", (event) => events.push(event));
    const error = await thrownBy(stream.done());
    expect(error).toBeInstanceOf(ApiError);
    expect(events.at(-1)).toMatchObject({ error_type: "out_of_memory", error: expect.any(String) });
    expect(JSON.stringify(events)).not.toContain("secret");
  });
});

describe("without a proxy address", () => {
  it("works through a fetch that turns fal's hosts into this server's paths", async () => {
    const direct = createFalClient({ credentials: "k", fetch: (url, init) => fetch(mapped(url), init) });
    const { data } = await direct.run(id, { input: { prompt: "x", seed: 9 } });
    expect(data.seed).toBe(9);
    const stream = await direct.stream(id, { input: { prompt: "x", seed: 9 } });
    expect(await stream.done()).toMatchObject({ seed: 9, image: data.image });
  });

  it("works through the address that a stream can be given", async () => {
    const direct = createFalClient({ credentials: "k" });
    const stream = await direct.stream(id, { url: `${server.url}/stream`, input: { prompt: "x", seed: 9 } });
    expect(await stream.done()).toMatchObject({ seed: 9 });
  });
});

function mapped(url: string | URL | Request): string {
  return (url instanceof Request ? url.url : url.toString())
    .replace("https://queue.fal.run", `${server.url}/queue`)
    .replace("https://rest.fal.ai", `${server.url}/rest`)
    .replace("https://fal.run", server.url);
}

function inPieces(response: Response, size: number): Response {
  const pieces = new TransformStream<Uint8Array, Uint8Array>({
    transform: (chunk, controller) => {
      for (let at = 0; at < chunk.length; at += size) controller.enqueue(chunk.subarray(at, at + size));
    },
  });
  return new Response(response.body!.pipeThrough(pieces), response);
}
