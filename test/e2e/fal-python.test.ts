/** fal's own Python client, as it comes from PyPI, against a real server: over plain http, and over TLS as it insists on by itself. */
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { selfSignedCertificate } from "../support/certificate.ts";
import { withKeepAlive } from "../support/keep-alive.ts";
import { startTestServer, testPython, type TestServer } from "../support/server.ts";
import { startTlsFront, type TlsFront } from "../support/tls.ts";

vi.mock("../../src/http/sse.ts", async (importOriginal) => withKeepAlive(await importOriginal(), 20));

const checks = fileURLToPath(new URL("../fixtures/fal_client_checks.py", import.meta.url));

interface Observed {
  readonly run: unknown;
  readonly stream: unknown[];
  readonly stream_async: unknown[];
  readonly stream_without_app: unknown[];
  readonly stream_prompt: unknown[];
  readonly stream_failing: { readonly events: unknown[]; readonly error: string };
  readonly stream_invalid: unknown;
  readonly run_invalid: unknown;
  readonly refused: unknown;
  readonly subscribe: { readonly result: unknown; readonly updates: string[] };
  readonly queue: unknown;
  readonly start_timeout: unknown;
}

/** What `fal_client_checks.py` saw, by check. One process for several: importing the client takes a second. */
async function observe(names: readonly (keyof Observed)[], env: Readonly<Record<string, string>>): Promise<Observed> {
  const { stdout } = await promisify(execFile)(testPython(), [checks, ...names], {
    env: { PATH: process.env["PATH"], FAL_KEY: "test:key", ...env },
    maxBuffer: 2 ** 26,
  });
  // The script prints what the interface says, for the checks that were asked.
  return JSON.parse(stdout) as Observed;
}

let server: TestServer;
let front: TlsFront;
let directory: string;
let overTls: Record<string, string>;
beforeAll(async () => {
  server = await startTestServer({ worker: "pause_before_preview" });
  await server.ready();
  directory = await mkdtemp(join(tmpdir(), "latentcast-tls-"));
  const certificate = selfSignedCertificate();
  await writeFile(join(directory, "cert.pem"), certificate.cert);
  front = await startTlsFront(server.url, certificate);
  overTls = {
    FAL_RUN_HOST: `localhost:${front.port}`,
    FAL_QUEUE_RUN_HOST: `localhost:${front.port}/queue`,
    SSL_CERT_FILE: join(directory, "cert.pem"),
  };
});
afterAll(async () => {
  await front.close();
  await server.close();
  await rm(directory, { recursive: true });
});

describe.each(["plain http", "TLS"])("over %s", (way) => {
  const reach = (): Record<string, string> => (way === "TLS" ? overTls : { LATENTCAST_URL: server.url });

  it("runs and streams", async () => {
    const seen = await observe(["run", "stream", "stream_async", "stream_without_app"], reach());
    expect(seen.run).toMatchObject({ seed: 1, prompt: "x", image: { width: 64, content_type: "image/jpeg" } });
    for (const events of [seen.stream, seen.stream_async, seen.stream_without_app]) {
      expect(events.length).toBeGreaterThanOrEqual(2);
      expect(events.at(-1)).toMatchObject({ prompt: "x", timings: expect.any(Object), image: expect.any(Object) });
    }
  });

  it("raises what is wrong with the input, as far as the client lets it through", async () => {
    const seen = await observe(["run_invalid", "stream_invalid"], reach());
    expect(seen.run_invalid).toMatchObject({
      status: 422,
      type: "invalid_request",
      message: [{ loc: ["body", "prompt"] }],
    });
    // The client keeps neither status nor body of an answer that is no stream.
    expect(seen.stream_invalid).toContain("application/json");
  });
});

describe("the queue", () => {
  it.each(["plain http", "TLS"])("is followed to its end over %s", async (way) => {
    const { subscribe: seen } = await observe(["subscribe"], way === "TLS" ? overTls : { LATENTCAST_URL: server.url });
    expect(seen.result).toMatchObject({ seed: 5, prompt: "x" });
    expect([...new Set(seen.updates)]).toEqual(["Queued", "InProgress", "Completed"]);
  });

  it("reports states and cancels, by handle and by id, with a sub path in the model's name", async () => {
    const { queue: seen } = await observe(["queue"], overTls);
    expect(seen).toEqual({
      kinds: ["Queued", "Queued"],
      endings: [
        [499, "cancelled"],
        [499, "cancelled"],
      ],
    });
  });

  it("times out when work has not begun in time", async () => {
    const { start_timeout: seen } = await observe(["start_timeout"], { LATENTCAST_URL: server.url });
    expect(seen).toEqual({ status: 504, timeout: "user" });
  });
});

it("takes comments while it waits for a preview for silence", async () => {
  const release = join(directory, "go");
  await using pausing = await startTestServer({ worker: "pause_before_preview" });
  await pausing.ready();
  let pings = 0;
  const certificate = selfSignedCertificate();
  await writeFile(join(directory, "pausing.pem"), certificate.cert);
  const watching = await startTlsFront(pausing.url, certificate, (chunk) => {
    if (chunk.includes(": ping") && ++pings === 3) writeFileSync(release, "");
  });
  try {
    const env = {
      FAL_RUN_HOST: `localhost:${watching.port}`,
      SSL_CERT_FILE: join(directory, "pausing.pem"),
      PROMPT: `until ${release}`,
    };
    const { stream_prompt: events } = await observe(["stream_prompt"], env);
    expect(events.at(-1)).toMatchObject({ prompt: `until ${release}` });
    expect(pings).toBeGreaterThanOrEqual(3);
  } finally {
    await watching.close();
  }
});

describe("failures", () => {
  it("yields the error and then breaks off when a run fails", async () => {
    await using failing = await startTestServer({ worker: "fails_after_preview" });
    await failing.ready();
    const { stream_failing: seen } = await observe(["stream_failing"], { LATENTCAST_URL: failing.url });
    expect(seen.events.at(-1)).toMatchObject({ error_type: "out_of_memory" });
    expect(seen.error).toBe("RemoteProtocolError");
  });

  it("raises a 503 without trying again", async () => {
    const logs: string[] = [];
    await using ending = await startTestServer({ worker: "fixture_worker", logs });
    await ending.jobs.close();
    const { refused } = await observe(["refused"], { LATENTCAST_URL: ending.url });
    expect(refused).toEqual({ status: 503, type: "draining" });
    expect(logs.filter((line) => line.includes("request failed"))).toHaveLength(1);
  });
});
