/** OpenAI's own Python client, as it comes from PyPI: the current version, and the one before it, which much is still built on. */
import { execFile, spawn, type ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { deferred, type Deferred } from "../../src/async/deferred.ts";
import { eventually } from "../support/eventually.ts";
import { withKeepAlive } from "../support/keep-alive.ts";
import { made, openai } from "../support/openai.ts";
import { startTestServer, testPython, type TestServer } from "../support/server.ts";

vi.mock("../../src/http/sse.ts", async (importOriginal) => withKeepAlive(await importOriginal(), 20));

const checks = fileURLToPath(new URL("../fixtures/openai_client_checks.py", import.meta.url));
const requirements = fileURLToPath(new URL("../fixtures/openai-2-requirements.txt", import.meta.url));

let server: TestServer;
let version2: string;
beforeAll(async () => {
  server = await startTestServer({ worker: "fixture_worker", env: { LATENTCAST_BODY_LIMIT_BYTES: "65536" } });
  await server.ready();
  version2 = await mkdtemp(join(tmpdir(), "latentcast-openai-2-"));
  const flags = ["--quiet", "--no-deps", "--no-input", "--disable-pip-version-check", "--target", version2];
  await promisify(execFile)(testPython(), ["-m", "pip", "install", ...flags, "-r", requirements]);
});
afterAll(async () => {
  await server.close();
  await rm(version2, { recursive: true, force: true });
});

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

/** A process of `openai_client_checks.py`, which runs one check after the other. */
class PythonClient implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #waiting = new Map<number, Deferred<Observed>>();
  #asked = 0;

  /** @param packages Found before those of the environment. */
  constructor(packages?: string) {
    const path = packages === undefined ? {} : { PYTHONPATH: packages };
    this.#child = spawn(testPython(), [checks], {
      env: { PATH: process.env["PATH"], ...path },
      stdio: ["pipe", "pipe", "inherit"],
    });
    createInterface(this.#child.stdout).on("line", (line) => this.#take(line));
    this.#child.once("close", () => {
      for (const { reject } of this.#waiting.values()) reject(new Error("the client's process has ended"));
    });
  }

  /** What these checks saw of the server. */
  see(
    { url }: TestServer,
    names: readonly (keyof Observed)[],
    env: { readonly PROMPT?: string; readonly OPENAI_API_KEY?: string } = {},
  ): Promise<Observed> {
    this.#asked += 1;
    const id = this.#asked;
    const asked = { id, checks: names, env: { LATENTCAST_URL: url, PROMPT: "", OPENAI_API_KEY: "none", ...env } };
    this.#child.stdin.write(`${JSON.stringify(asked)}\n`);
    const waiting = deferred<Observed>();
    this.#waiting.set(id, waiting);
    return waiting.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill();
    await once(this.#child, "close");
  }

  #take(line: string): void {
    // The script prints what the interface says, for the checks that were asked.
    const { id, seen, failed } = JSON.parse(line) as { id: number; seen: Observed; failed?: string };
    const waiting = this.#waiting.get(id);
    if (failed === undefined) waiting?.resolve(seen);
    else waiting?.reject(new Error(failed));
  }
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

describe.each([
  ["3.57.0", () => undefined],
  ["2.54.0", () => version2],
])("version %s", (version, packages: () => string | undefined) => {
  let client: PythonClient;
  beforeAll(() => {
    client = new PythonClient(packages());
  });
  afterAll(() => client[Symbol.asyncDispose]());

  describe("the client", () => {
    it("lists the models, generates with fields of its own, streams in each format, and streams asynchronously", async () => {
      const seen = await client.see(server, ["version", "models", "generate", "by_url", "stream", "stream_async"]);
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
      const { edits: seen } = await client.see(server, ["edits"]);
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
      const seen = await client.see(server, ["invalid", "bodies"]);
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
      await using crashing = await startTestServer({ worker: "crash_mid_job" });
      await crashing.ready();
      const { stream_failing: seen } = await client.see(crashing, ["stream_failing"], { PROMPT: "crash always" });
      expect(seen).toMatchObject({ kind: "APIError", code: "worker_crashed", type: "server_error" });
    });

    it("does not repeat what repetition cannot mend", async () => {
      const logs: string[] = [];
      await using failing = await startTestServer({ worker: "fails_after_preview", logs });
      await failing.ready();
      const { failing: seen } = await client.see(failing, ["failing"], { PROMPT: "out_of_memory" });
      expect(seen).toMatchObject({ kind: "InternalServerError", code: "out_of_memory" });
      expect(attempts(logs)).toBe(1);
    });

    it("raises an AuthenticationError for a wrong key", async () => {
      await using locked = await startTestServer({ worker: "fixture_worker", env: { LATENTCAST_API_KEYS: "secret" } });
      await locked.ready();
      const { failing: seen } = await client.see(locked, ["failing"], { PROMPT: "x", OPENAI_API_KEY: "wrong" });
      expect(seen).toMatchObject({ kind: "AuthenticationError", code: "unauthorized" });
      expect((await client.see(locked, ["models"], { OPENAI_API_KEY: "secret" })).models).toEqual(["fixture"]);
    });

    it("repeats after a timeout of its own, and leaves nothing running", async () => {
      const logs: string[] = [];
      await using slow = await startTestServer({
        worker: "one_at_a_time",
        env: { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.2" },
        logs,
      });
      await slow.ready();
      const { timeout: seen } = await client.see(slow, ["timeout"]);
      expect(seen).toMatchObject({ kind: "APITimeoutError" });
      await eventually(() => expect(slow.jobs.snapshot()).toMatchObject({ queue: { unfinished: 0 } }));
      expect(slow.jobs.snapshot().counters).toMatchObject({ accepted: 3, cancelled: 3 });
    });
  });

  it("takes comments while it waits", async () => {
    await using pausing = await startTestServer({ worker: "pause_before_preview" });
    await pausing.ready();
    const release = `${process.env["TMPDIR"] ?? "/tmp"}/latentcast-${crypto.randomUUID()}`;
    const seen = client.see(pausing, ["stream_prompt"], { PROMPT: `until ${release}` });
    await eventually(() => expect(pausing.jobs.snapshot()).toMatchObject({ workers: [{ jobs: 1 }] }), 60_000);
    // Comments come every 20 ms here.
    await new Promise((resolve) => setTimeout(resolve, 200));
    await writeFile(release, "");
    expect((await seen).stream_prompt).toEqual(kinds(1));
  });
});
