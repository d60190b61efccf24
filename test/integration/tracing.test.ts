import { createServer, type Server } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post } from "../support/sse.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT = "00f067aa0ba902b7";
/** The real worker imports torch first. */
const LOAD_TIMEOUT_MS = 110_000;

interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
}

interface Export {
  readonly resourceSpans: readonly { readonly scopeSpans: readonly { readonly spans: readonly Span[] }[] }[];
}

const spans: Span[] = [];
let exported = "";
let collector: Server;
let server: TestServer;

beforeAll(async () => {
  collector = createServer((request, response) => {
    void json(request).then((body) => {
      exported += JSON.stringify(body);
      // OTLP in JSON, from both languages.
      for (const { scopeSpans } of (body as Export).resourceSpans)
        spans.push(...scopeSpans.flatMap((scope) => scope.spans));
      response.end("{}");
    });
  });
  collector.listen(0, "127.0.0.1");
  await once(collector, "listening");
  server = await startTestServer({
    env: {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(collector.address() as AddressInfo).port}`,
      OTEL_BSP_SCHEDULE_DELAY: "100",
      // Threads of one process that wait for each other lose all their time to the others on a crowded machine.
      LATENTCAST_WORKER_THREADS: "1",
      LATENTCAST_MAX_BATCH: "1",
    },
  });
  await eventually(async () => expect((await fetch(`${server.url}/ready`)).status).toBe(200), LOAD_TIMEOUT_MS);
});
afterAll(async () => {
  await server.close();
  collector.close();
});

describe("a request with a traceparent", () => {
  it("is one tree of spans from the caller's down to the worker's steps", async () => {
    const response = await post(
      server.url,
      { prompt: "a secret wish", num_inference_steps: 2, width: 64, height: 64, preview: { every: 1 } },
      { headers: { "content-type": "application/json", traceparent: `00-${TRACE}-${PARENT}-01` } },
    );
    expect(response.status).toBe(200);
    const named = await eventually(() => {
      const found = new Map(spans.filter(({ traceId }) => traceId === TRACE).map((span) => [span.name, span]));
      for (const name of ["POST /", "job", "worker job", "denoise", "decode", "preview"])
        expect([...found.keys()]).toContain(name);
      return found;
    });
    const request = named.get("POST /")!;
    expect(request.parentSpanId).toBe(PARENT);
    expect(named.get("job")!.parentSpanId).toBe(request.spanId);
    expect(named.get("worker job")!.parentSpanId).toBe(request.spanId);
    for (const name of ["denoise", "decode", "preview"]) {
      expect(named.get(name)!.parentSpanId).toBe(named.get("worker job")!.spanId);
    }
    expect(exported).not.toContain("secret");
  });

  it("that its caller does not sample is not exported, and neither is a probe", async () => {
    const unsampled = TRACE.replaceAll("4", "5");
    await post(
      server.url,
      { prompt: "x", num_inference_steps: 1, width: 64, height: 64 },
      { headers: { "content-type": "application/json", traceparent: `00-${unsampled}-${PARENT}-00` } },
    );
    await fetch(`${server.url}/health`);
    const before = spans.length;
    await post(server.url, { prompt: "y", num_inference_steps: 1, width: 64, height: 64 });
    await eventually(() => expect(spans.slice(before).map(({ name }) => name)).toContain("worker job"));
    expect(spans.map(({ traceId }) => traceId)).not.toContain(unsampled);
    expect(spans.map(({ name }) => name)).not.toContain("GET /health");
  });
});

describe("a server without a collector", () => {
  it("answers as usual", async () => {
    await using plain = await startTestServer({ worker: "fixture_worker" });
    await plain.ready();
    // By its trace: spans of the tests before may still be on their way.
    const own = TRACE.replaceAll("4", "6");
    const headers = { "content-type": "application/json", traceparent: `00-${own}-${PARENT}-01` };
    expect((await post(plain.url, { prompt: "x" }, { headers })).status).toBe(200);
    await plain.close();
    expect(spans.map(({ traceId }) => traceId)).not.toContain(own);
  });
});
