/** OpenAI's own Python client, as it comes from PyPI: the current version, and the one before it, which much is still built on. */
import { writeFile } from "node:fs/promises";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { eventually } from "../support/eventually.ts";
import { withKeepAlive } from "../support/keep-alive.ts";
import { made, openai } from "../support/openai.ts";
import { PythonClient } from "../support/python-client.ts";
import { pythonPackages } from "../support/python-packages.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

vi.mock("../../src/http/sse.ts", async (importOriginal) => withKeepAlive(await importOriginal(), 20));

const VERSIONS = ["3.57.0", "2.54.0"];
const clients = new Map<string, PythonClient<Observed>>();
let server: TestServer;
let crashing: TestServer;
let failing: TestServer;
let locked: TestServer;
let pausing: TestServer;
const failingLogs: string[] = [];
beforeAll(async () => {
  [server, crashing, failing, locked, pausing] = await Promise.all([
    startTestServer({ worker: "fixture_worker", env: { LATENTCAST_BODY_LIMIT_BYTES: "65536" } }),
    startTestServer({ worker: "crash_mid_job" }),
    startTestServer({ worker: "fails_after_preview", logs: failingLogs }),
    startTestServer({ worker: "fixture_worker", env: { LATENTCAST_API_KEYS: "secret" } }),
    startTestServer({ worker: "pause_before_preview" }),
  ]);
  const [before] = await Promise.all([
    pythonPackages("openai-2-requirements.txt"),
    ...servers().map((each) => each.ready()),
  ]);
  const program = "openai_client_checks.py";
  clients.set("3.57.0", new PythonClient(program));
  clients.set("2.54.0", new PythonClient(program, { PYTHONPATH: before }));
});
afterAll(async () => {
  await Promise.all([...clients.values()].map((client) => client[Symbol.asyncDispose]()));
  await Promise.all(servers().map((each) => each.close()));
});

const servers = (): TestServer[] => [server, crashing, failing, locked, pausing];

type Refusal = Readonly<Record<"kind" | "code" | "param" | "type" | "message", string | null>> | null;

interface Observed {
  readonly models: string[];
  readonly generate: { readonly data: unknown[]; readonly b64: string[] };
  readonly by_url: { readonly url: string }[];
  readonly edits: {
    readonly answers: Readonly<Record<string, unknown[]>>;
    readonly b64: string[];
    readonly stream: string[];
    readonly refused: Refusal;
  };
  readonly version: string;
  readonly stream: Readonly<Record<string, string[]>>;
  readonly stream_async: string[];
  readonly stream_prompt: string[];
  readonly stream_failing: Refusal;
  readonly failing: Refusal;
  readonly invalid: Refusal[];
  readonly bodies: Refusal[];
  readonly timeout: Refusal;
}

/** What these checks of this version saw of the server. */
function observe(
  version: string,
  { url }: TestServer,
  names: readonly (keyof Observed)[],
  env: { readonly PROMPT?: string; readonly OPENAI_API_KEY?: string } = {},
): Promise<Observed> {
  return clients.get(version)!.see(names, { LATENTCAST_URL: url, OPENAI_API_KEY: "none", ...env });
}

/** Status of every `POST`, as the server answered it; a client that left is none. */
function attempts(logs: readonly string[]): number {
  return logs.filter((line) => line.includes('"msg":"request"') && line.includes('"method":"POST"')).length;
}

const kinds = (partials: number, subject = "image_generation"): string[] => [
  ...Array.from({ length: partials }, () => `${subject}.partial_image`),
  `${subject}.completed`,
];

const pixelsOf = (b64 = ""): Promise<Buffer> => sharp(Buffer.from(b64, "base64")).raw().toBuffer();

describe.each(VERSIONS)("version %s", (version) => {
  describe("the client", () => {
    it("lists the models, generates with fields of its own, streams in each format, and streams asynchronously", async () => {
      const seen = await observe(version, server, [
        "version",
        "models",
        "generate",
        "by_url",
        "stream",
        "stream_async",
      ]);
      expect(seen.version).toBe(version);
      expect(seen.models).toEqual(["fixture"]);
      expect(seen.generate.data).toEqual([7, 8].map((seed) => ({ b64_json: expect.any(Number), seed })));
      const asked = { prompt: "x", n: 2, seed: 7, negative_prompt: "fog", steps: 2, width: 128, height: 64 };
      const again = await made(openai(server.url), asked);
      expect(seen.generate.b64).toEqual(again.map(({ b64_json }) => b64_json));
      expect(seen.by_url).toEqual([{ url: expect.stringMatching(/^http.+\.png$/), seed: expect.any(Number) }]);
      for (const format of ["png", "jpeg", "webp"])
        for (const partials of [0, 1, 3]) expect(seen.stream[`${format} ${partials}`]).toEqual(kinds(partials));
      expect(seen.stream_async).toEqual(kinds(2));
    });

    it("edits bytes without a name and files, with a mask, as streams, and varies them", async () => {
      const { edits: seen } = await observe(version, server, ["edits"]);
      const image = (seed: number): object => ({ b64_json: expect.any(Number), seed });
      expect(seen.answers).toEqual({ nameless: [image(7)], several: [image(7), image(8)], variation: [image(7)] });
      const asked = { prompt: "x", seed: 7, steps: 2, width: 64, height: 64 };
      const [plain] = await made(openai(server.url), asked);
      // This worker paints its seed, whatever it starts from; what is written inside tells the two apart.
      expect(await pixelsOf(seen.b64[0])).toEqual(await pixelsOf(plain?.b64_json));
      expect(seen.b64[0]).not.toBe(plain?.b64_json);
      expect(seen.stream).toEqual(kinds(2, "image_edit"));
      expect(seen.refused).toMatchObject({ kind: "BadRequestError", code: "invalid_request", param: "image" });
    });

    it("raises what is wrong with the field's name, and the message of whatever refuses", async () => {
      const seen = await observe(version, server, ["invalid", "bodies"]);
      expect(seen.invalid).toEqual(
        ["size", "n", "output_format"].map((param) =>
          expect.objectContaining({ kind: "BadRequestError", code: "invalid_request", param }),
        ),
      );
      expect(seen.bodies).toEqual(
        [
          ["NotFoundError", "not_found", "/v1/nothing"],
          ["APIStatusError", "method_not_allowed", "POST"],
          ["APIStatusError", "payload_too_large", "too large"],
          ["APIStatusError", "unsupported_media_type", "application/json"],
        ].map(([kind, code, text]) =>
          expect.objectContaining({ kind, code, message: expect.stringContaining(text ?? "") }),
        ),
      );
    });
  });

  describe("failures", () => {
    it("raises the code of a worker that died twice, in the middle of a stream", async () => {
      const { stream_failing: seen } = await observe(version, crashing, ["stream_failing"], { PROMPT: "crash always" });
      expect(seen).toMatchObject({ kind: "APIError", code: "worker_crashed", type: "server_error" });
    });

    it("does not repeat what repetition cannot mend", async () => {
      failingLogs.length = 0;
      const { failing: seen } = await observe(version, failing, ["failing"], { PROMPT: "out_of_memory" });
      expect(seen).toMatchObject({ kind: "InternalServerError", code: "out_of_memory" });
      expect(attempts(failingLogs)).toBe(1);
    });

    it("raises an AuthenticationError for a wrong key", async () => {
      const { failing: seen } = await observe(version, locked, ["failing"], { PROMPT: "x", OPENAI_API_KEY: "wrong" });
      expect(seen).toMatchObject({ kind: "AuthenticationError", code: "unauthorized" });
      expect((await observe(version, locked, ["models"], { OPENAI_API_KEY: "secret" })).models).toEqual(["fixture"]);
    });
  });

  it("takes comments while it waits", async () => {
    const release = `${process.env["TMPDIR"] ?? "/tmp"}/latentcast-${crypto.randomUUID()}`;
    const seen = observe(version, pausing, ["stream_prompt"], { PROMPT: `until ${release}` });
    await eventually(() => expect(pausing.devices().held).toBe(1));
    // Comments come every 20 ms here.
    await new Promise((resolve) => setTimeout(resolve, 200));
    await writeFile(release, "");
    expect((await seen).stream_prompt).toEqual(kinds(1));
  });
});

// They wait for most of their time.
describe.concurrent.each(VERSIONS)("version %s", (version) => {
  it("repeats after a timeout of its own, and leaves nothing running", async () => {
    await using slow = await startTestServer({
      worker: "one_at_a_time",
      env: { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.2" },
    });
    await slow.ready();
    const { timeout: seen } = await observe(version, slow, ["timeout"]);
    expect(seen).toMatchObject({ kind: "APITimeoutError" });
    await eventually(() => expect(slow.jobs.snapshot()).toMatchObject({ queue: { unfinished: 0 } }));
    expect(slow.jobs.snapshot().counters).toMatchObject({ accepted: 3, cancelled: 3 });
  });
});
