/** fal's own Python client, as it comes from PyPI, against a real server: over plain http, and over TLS as it insists on by itself. */
import { writeFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { selfSignedCertificate } from "../support/certificate.ts";
import { withKeepAlive } from "../support/keep-alive.ts";
import { PythonClient } from "../support/python-client.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { startTlsFront, type TlsFront } from "../support/tls.ts";

vi.mock("../../src/http/sse.ts", async (importOriginal) => withKeepAlive(await importOriginal(), 20));

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

let server: TestServer;
let front: TlsFront;
let directory: string;
let overHttp: PythonClient<Observed>;
let overTls: PythonClient<Observed>;
/** Sees what the server sends, before TLS. */
let onAnswer: (chunk: Buffer) => void = () => undefined;
beforeAll(async () => {
  server = await startTestServer({ worker: "pause_before_preview" });
  await server.ready();
  directory = await mkdtemp(join(tmpdir(), "latentcast-tls-"));
  const certificate = selfSignedCertificate();
  await writeFile(join(directory, "cert.pem"), certificate.cert);
  front = await startTlsFront(server.url, certificate, (chunk) => onAnswer(chunk));
  overHttp = new PythonClient("fal_client_checks.py", { FAL_KEY: "test:key" });
  overTls = new PythonClient("fal_client_checks.py", {
    FAL_KEY: "test:key",
    FAL_RUN_HOST: `localhost:${front.port}`,
    FAL_QUEUE_RUN_HOST: `localhost:${front.port}/queue`,
    SSL_CERT_FILE: join(directory, "cert.pem"),
  });
});
afterAll(async () => {
  await Promise.all([overHttp, overTls].map((client) => client[Symbol.asyncDispose]()));
  await front.close();
  await server.close();
  await rm(directory, { recursive: true });
});

const plainly = ({ url }: TestServer, names: readonly (keyof Observed)[]): Promise<Observed> =>
  overHttp.see(names, { LATENTCAST_URL: url, WORKERS: String(server.devices().count) });

function observe(way: string, ...names: readonly (keyof Observed)[]): Promise<Observed> {
  return way === "TLS" ? overTls.see(names, { WORKERS: String(server.devices().count) }) : plainly(server, names);
}

describe.each(["plain http", "TLS"])("over %s", (way) => {
  it("runs and streams", async () => {
    const seen = await observe(way, "run", "stream", "stream_async", "stream_without_app");
    expect(seen.run).toMatchObject({ seed: 1, prompt: "x", image: { width: 64, content_type: "image/jpeg" } });
    for (const events of [seen.stream, seen.stream_async, seen.stream_without_app]) {
      expect(events.length).toBeGreaterThanOrEqual(2);
      expect(events.at(-1)).toMatchObject({ prompt: "x", timings: expect.any(Object), image: expect.any(Object) });
    }
  });

  it("raises what is wrong with the input, as far as the client lets it through", async () => {
    const seen = await observe(way, "run_invalid", "stream_invalid");
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
    const { subscribe: seen } = await observe(way, "subscribe");
    expect(seen.result).toMatchObject({ seed: 5, prompt: "x" });
    expect([...new Set(seen.updates)]).toEqual(["Queued", "InProgress", "Completed"]);
  });

  it("reports states and cancels, by handle and by id, with a sub path in the model's name", async () => {
    const { queue: seen } = await observe("TLS", "queue");
    expect(seen).toEqual({
      kinds: ["Queued", "Queued"],
      endings: [
        [499, "cancelled"],
        [499, "cancelled"],
      ],
    });
  });

  it("times out when work has not begun in time", async () => {
    const { start_timeout: seen } = await observe("plain http", "start_timeout");
    expect(seen).toEqual({ status: 504, timeout: "user" });
  });
});

it("takes comments while it waits for a preview for silence", async () => {
  const release = join(directory, "go");
  let pings = 0;
  onAnswer = (chunk) => {
    if (chunk.includes(": ping") && ++pings === 3) writeFileSync(release, "");
  };
  const { stream_prompt: events } = await overTls.see(["stream_prompt"], { PROMPT: `until ${release}` });
  expect(events.at(-1)).toMatchObject({ prompt: `until ${release}` });
  expect(pings).toBeGreaterThanOrEqual(3);
});

describe("failures", () => {
  it("yields the error and then breaks off when a run fails", async () => {
    await using failing = await startTestServer({ worker: "fails_after_preview" });
    await failing.ready();
    const { stream_failing: seen } = await plainly(failing, ["stream_failing"]);
    expect(seen.events.at(-1)).toMatchObject({ error_type: "out_of_memory" });
    expect(seen.error).toBe("RemoteProtocolError");
  });

  it("raises a 503 without trying again", async () => {
    const logs: string[] = [];
    await using ending = await startTestServer({ worker: "fixture_worker", logs });
    await ending.jobs.close();
    const { refused } = await plainly(ending, ["refused"]);
    expect(refused).toEqual({ status: 503, type: "draining" });
    expect(logs.filter((line) => line.includes("request failed"))).toHaveLength(1);
  });
});
