import { connect, type Socket } from "node:net";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post, postStream } from "../support/sse.ts";

const KEY = { headers: { authorization: "Key first-secret", "content-type": "application/json" } };
const OTHER_KEY = { headers: { authorization: "Bearer second-secret", "content-type": "application/json" } };
const SLOW = { prompt: "x", num_inference_steps: 50, preview: { every: 1 } };

describe("API keys", () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer({
      worker: "fixture_worker",
      env: { LATENTCAST_API_KEYS: "first-secret, second-secret" },
    });
    await server.ready();
  });
  afterAll(() => server.close());

  it.each([
    ["Key first-secret", 200],
    ["key first-secret", 200],
    ["Bearer second-secret", 200],
    ["Key first-secre", 401],
    ["Key first-secret2", 401],
    ["Basic first-secret", 401],
    ["first-secret", 401],
    ["Key ", 401],
  ])("answers %j with %i", async (authorization, status) => {
    const response = await post(
      server.url,
      { prompt: "x", num_inference_steps: 1 },
      {
        headers: { authorization, "content-type": "application/json" },
      },
    );
    expect(response.status).toBe(status);
  });

  it("names the error and how to send a key", async () => {
    const response = await post(`${server.url}/stream`, { prompt: "x" });
    expect(response.status).toBe(401);
    expect(response.headers.get("x-fal-request-id")).toBeTruthy();
    expect(await response.json()).toMatchObject({ error_type: "unauthorized", detail: expect.stringContaining("Key") });
  });

  it("leaves probes open and closes everything else", async () => {
    const status = async (path: string): Promise<number> => (await fetch(server.url + path)).status;
    expect(await Promise.all(["/health", "/ready", "/metrics", "/nowhere"].map(status))).toEqual([200, 200, 401, 401]);
  });

  it("are never in responses or logs", async () => {
    const logs: string[] = [];
    const talking = await startTestServer({
      worker: "fixture_worker",
      env: { LATENTCAST_API_KEYS: "first-secret" },
      logs,
    });
    await talking.ready();
    await post(talking.url, { prompt: "x" }, KEY);
    await post(talking.url, { prompt: "x" }, OTHER_KEY);
    const health = await text((await fetch(`${talking.url}/health`)).body ?? new ReadableStream());
    await talking.close();
    expect(logs.join("")).toContain('"caller":"key-');
    expect(health + logs.join("")).not.toMatch(/first-secret|second-secret/);
  });
});

describe("limits of one key", () => {
  it("refuses requests beyond the rate with the time to wait, and lets polls and other keys through", async () => {
    await using server = await startTestServer({
      worker: "fixture_worker",
      env: { LATENTCAST_API_KEYS: "first-secret,second-secret", LATENTCAST_RATE_LIMIT_PER_MINUTE: "2" },
    });
    await server.ready();
    const input = { prompt: "x", num_inference_steps: 1 };
    expect((await post(server.url, input, KEY)).status).toBe(200);
    expect((await post(server.url, {}, KEY)).status).toBe(422);
    const refused = await post(`${server.url}/stream`, input, KEY);
    expect(refused.status).toBe(429);
    const wait = Number(refused.headers.get("retry-after"));
    expect(wait).toBeGreaterThanOrEqual(1);
    expect(wait).toBeLessThanOrEqual(60);
    expect(await refused.json()).toMatchObject({ error_type: "rate_limited" });
    expect((await post(server.url, input, OTHER_KEY)).status).toBe(200);
    for (let poll = 0; poll < 5; poll += 1) expect((await fetch(`${server.url}/ready`)).status).toBe(200);
    expect((await fetch(`${server.url}/metrics`, KEY)).status).toBe(200);
  });

  it("counts images at once per key and gives each place back, also when the client leaves", async () => {
    await using server = await startTestServer({
      worker: "fixture_worker",
      env: { LATENTCAST_API_KEYS: "first-secret,second-secret", LATENTCAST_MAX_CONCURRENT_PER_KEY: "1" },
    });
    await server.ready();
    const leaving = new AbortController();
    const first = await fetch(`${server.url}/stream`, {
      method: "POST",
      ...KEY,
      body: JSON.stringify(SLOW),
      signal: leaving.signal,
    });
    expect(first.status).toBe(200);
    const refused = await post(server.url, { prompt: "x" }, KEY);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "1"]);
    expect((await post(server.url, { prompt: "x", num_inference_steps: 1 }, OTHER_KEY)).status).toBe(200);
    leaving.abort();
    await eventually(async () => {
      expect((await post(server.url, { prompt: "x", num_inference_steps: 1 }, KEY)).status).toBe(200);
    });
    expect((await post(server.url, {}, KEY)).status).toBe(422);
    expect((await post(server.url, { prompt: "x", num_inference_steps: 1 }, KEY)).status).toBe(200);
  });
});

describe("sizes", () => {
  it("that are too large are refused before any work, of bodies and images alike", async () => {
    await using server = await startTestServer({
      worker: "fixture_worker",
      env: { LATENTCAST_BODY_LIMIT_BYTES: "2000", LATENTCAST_MAX_PIXELS: String(128 * 128) },
    });
    await server.ready();
    const body = await post(server.url, { prompt: "x".repeat(3_000) });
    expect([body.status, (await body.json()).error_type]).toEqual([413, "payload_too_large"]);
    const pixels = await post(server.url, { prompt: "x", width: 128, height: 128, num_images: 2 });
    expect(pixels.status).toBe(422);
    expect(await pixels.json()).toMatchObject({ detail: [{ loc: ["body", "num_images"] }] });
    expect((await (await fetch(`${server.url}/health`)).json()).counters.accepted).toBe(0);
  });
});

describe("browsers", () => {
  it("lets pages of listed origins call, and no others", async () => {
    await using server = await startTestServer({
      worker: "fixture_worker",
      env: { LATENTCAST_CORS_ORIGINS: "https://app.example", LATENTCAST_API_KEYS: "first-secret" },
    });
    const preflight = (origin: string): Promise<Response> =>
      fetch(`${server.url}/stream`, {
        method: "OPTIONS",
        headers: {
          origin,
          "access-control-request-method": "POST",
          "access-control-request-headers": "authorization,content-type,x-fal-target-url",
        },
      });
    const allowed = await preflight("https://app.example");
    expect(allowed.status).toBe(204);
    expect(allowed.headers.get("access-control-allow-origin")).toBe("https://app.example");
    expect(allowed.headers.get("access-control-allow-headers")).toContain("authorization");
    expect((await preflight("https://elsewhere.example")).headers.get("access-control-allow-origin")).toBeNull();
  });

  it("sends headers that forbid what the playground does not need, on streams too", async () => {
    await using server = await startTestServer({ worker: "fixture_worker" });
    await server.ready();
    const page = await fetch(`${server.url}/health`);
    const stream = await postStream(`${server.url}/stream`, { prompt: "x", num_inference_steps: 1 });
    for (const { headers } of [page, stream]) {
      const policy = headers.get("content-security-policy") ?? "";
      expect(policy).toContain("default-src 'none'");
      expect(policy).toContain("script-src 'self'");
      expect(policy).not.toContain("unsafe");
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      expect(headers.get("strict-transport-security")).toBeNull();
    }
  });
});

describe("overload", () => {
  it("refuses new work while the event loop lags, keeps answering probes, and recovers", async () => {
    await using server = await startTestServer({
      worker: "fixture_worker",
      env: { LATENTCAST_MAX_EVENT_LOOP_DELAY_SECONDS: "0.1" },
    });
    await server.ready();
    const busy = setInterval(() => {
      const until = performance.now() + 400;
      while (performance.now() < until);
    }, 1);
    try {
      await eventually(async () => {
        const refused = await post(server.url, { prompt: "x", num_inference_steps: 1 });
        expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "5"]);
        expect(await refused.json()).toMatchObject({ error_type: "overloaded" });
      });
      expect((await fetch(`${server.url}/health`)).status).toBe(200);
    } finally {
      clearInterval(busy);
    }
    await eventually(async () => {
      expect((await post(server.url, { prompt: "x", num_inference_steps: 1 })).status).toBe(200);
    });
  });
});

describe("clients that hold sockets open", () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer({ worker: "fixture_worker" });
    await server.ready();
    // The production values are 20, 120 and 72 seconds; what enforces them is the same.
    Object.assign(server.app.server, { headersTimeout: 300, requestTimeout: 600, keepAliveTimeout: 300 });
  });
  afterAll(() => server.close());

  async function open(): Promise<Socket> {
    const { hostname, port } = new URL(server.url);
    const socket = connect(Number(port), hostname);
    await once(socket, "connect");
    return socket;
  }

  it.concurrent("cuts one that never finishes its headers", async () => {
    const socket = await open();
    socket.write("POST / HTTP/1.1\r\nhost: x\r\n");
    const drip = setInterval(() => socket.write("x-more: y\r\n"), 100);
    socket.on("error", () => undefined);
    const answer = await text(socket).catch(() => "reset");
    clearInterval(drip);
    expect(answer).toMatch(/^(HTTP\/1\.1 408|reset)/);
  });

  it.concurrent("cuts one that says nothing at all", async () => {
    const socket = await open();
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 408/);
  });

  it.concurrent("cuts one whose body never ends", async () => {
    const socket = await open();
    socket.write("POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n");
    const drip = setInterval(() => socket.write("{"), 100);
    socket.on("error", () => undefined);
    const answer = await text(socket).catch(() => "reset");
    clearInterval(drip);
    expect(answer).toMatch(/^(HTTP\/1\.1 4\d\d|reset)/);
  });

  it.concurrent("closes one that idles between requests", async () => {
    const socket = await open();
    socket.write("GET /health HTTP/1.1\r\nhost: x\r\n\r\n");
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 200/);
  });
});
