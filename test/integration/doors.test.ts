/** Who gets in, and what a refusal looks like whichever layer it comes from. Raw sockets: clients would hide most of this. */
import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startServerProcess } from "../support/server-process.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { post } from "../support/sse.ts";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PAGE = "https://page.example";
const INPUT = { prompt: "x", num_inference_steps: 1 };

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({
    worker: "fixture_worker",
    env: {
      LATENTCAST_CORS_ORIGINS: PAGE,
      LATENTCAST_BODY_LIMIT_BYTES: "70000000",
      LATENTCAST_ALLOWED_HOSTS: "listed.example",
    },
  });
  await server.ready();
});
afterAll(() => server.close());

interface RawAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly wasReset: boolean;
}

/** Sends the text as it is and reads until the server closes. */
async function raw(request: string | Buffer, url = server.url): Promise<RawAnswer> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  let text = "";
  let wasReset = false;
  socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
  socket.on("error", () => (wasReset = true));
  socket.write(request);
  await new Promise((resolve) => socket.once("close", resolve));
  const [head = "", ...body] = text.split("\r\n\r\n");
  const [first = "", ...lines] = head.split("\r\n");
  const headers = Object.fromEntries(lines.map((line) => line.toLowerCase().split(": ", 2) as [string, string]));
  return { status: Number(first.split(" ")[1]), headers, body: body.join("\r\n\r\n"), wasReset };
}

const get = (path: string, ...headers: string[]): string =>
  [`GET ${path} HTTP/1.1`, "host: localhost", "connection: close", ...headers, "", ""].join("\r\n");

describe("a refusal", () => {
  it.each<[string, string | (() => string), number]>([
    ["an address that cannot be decoded", get("/requests/%E0%A4%A", `origin: ${PAGE}`), 400],
    ["a name of 5,000 characters", get(`/requests/${"x".repeat(5_000)}`, `origin: ${PAGE}`), 404],
    ["headers of 20 kB", get("/health", `origin: ${PAGE}`, `x-long: ${"x".repeat(20_000)}`), 431],
    ["something that is no HTTP", `BREW / HTTP/1.1\r\nhost: localhost\r\norigin: ${PAGE}\r\n\r\n`, 400],
    [
      "two lengths",
      `POST / HTTP/1.1\r\nhost: localhost\r\norigin: ${PAGE}\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n`,
      400,
    ],
    ["no host", get("/health", `origin: ${PAGE}`).replace("host: localhost\r\n", ""), 400],
    ["two hosts", get("/health", `origin: ${PAGE}`, "host: evil.example"), 400],
    ["a tunnel", get("evil.example:443", `origin: ${PAGE}`).replace("GET", "CONNECT"), 405],
    ["an address that is not there", get("/nowhere", `origin: ${PAGE}`), 404],
    ["a method that a path does not answer", get("/stream", `origin: ${PAGE}`), 405],
    ["a preflight that is incomplete", get("/nowhere", `origin: ${PAGE}`).replace("GET", "OPTIONS"), 204],
  ])("of %s has the one shape, the id and the headers that let a page read it", async (_name, request, status) => {
    const answer = await raw(typeof request === "string" ? request : request());
    expect(answer.status).toBe(status);
    expect(answer.headers["x-fal-request-id"]).toMatch(/^[\da-f-]{36}$/);
    expect(answer.headers["access-control-allow-origin"]).toBe(PAGE);
    if (status === 204) return;
    expect(answer.headers["access-control-expose-headers"]).toContain("retry-after");
    expect(answer.headers["content-type"]).toContain("application/json");
    expect(answer.headers["cache-control"]).toBe("no-store");
    const body = JSON.parse(answer.body);
    expect(Object.keys(body)).toEqual(["detail", "message", "error_type"]);
    expect(answer.headers["x-fal-error-type"]).toBe(body.error_type);
  });

  it("of a method lists those that the path has", async () => {
    const allow = async (method: string, path: string): Promise<string | null> => {
      const response = await fetch(server.url + path, { method });
      expect(response.status).toBe(405);
      return response.headers.get("allow");
    };
    expect(await allow("DELETE", "/health")).toBe("GET, HEAD");
    expect(await allow("GET", "/stream")).toBe("POST");
    expect(await allow("PUT", "/local/sdxl")).toBe("POST");
    expect(await allow("PATCH", "/requests/x/cancel")).toBe("POST, PUT");
    expect(await allow("DELETE", "/")).toBe("GET, HEAD, POST");
  });
});

describe("responses", () => {
  it("that change may not be cached, and those that never change may", async () => {
    const cacheControl = async (path: string): Promise<string | null> =>
      (await fetch(server.url + path)).headers.get("cache-control");
    for (const path of ["/health", "/ready", "/metrics", "/nowhere", "/requests/x"])
      expect(await cacheControl(path)).toBe("no-store");
    const { image } = await (await post(server.url, { ...INPUT, sync_mode: false })).json();
    expect((await fetch(image.url)).headers.get("cache-control")).toContain("immutable");
  });
});

describe("names of other APIs", () => {
  it.each(["/v2/images/generations", "/controlnet/detect", "/wp-json/x", "/openai/deployments/x", "/queue/v1/images"])(
    "%s is no model",
    async (path) => {
      for (const method of ["POST", "GET"]) {
        const init =
          method === "POST"
            ? { method, body: JSON.stringify(INPUT), headers: { "content-type": "application/json" } }
            : {};
        const response = await fetch(server.url + path, init);
        expect([response.status, (await response.json()).error_type]).toEqual([404, "not_found"]);
      }
      expect((await (await fetch(`${server.url}/health`)).json()).counters.accepted).toBeLessThan(10);
    },
  );

  it("below fal-ai/ are models of fal, in fal's shape", async () => {
    const body = await (await post(`${server.url}/fal-ai/flux/dev`, INPUT)).json();
    expect(body).toMatchObject({ images: [{ url: expect.any(String) }], has_nsfw_concepts: [false] });
  });
});

describe("a server without keys", () => {
  const host = (name: string, path = "/health"): Promise<RawAnswer> =>
    raw(`GET ${path} HTTP/1.1\r\nhost: ${name}\r\nconnection: close\r\n\r\n`);

  it("refuses host names that a stranger's DNS could point at it", async () => {
    for (const path of ["/health", "/", "/files/x", "/openapi.json"]) {
      const answer = await host("evil.example", path);
      expect([answer.status, JSON.parse(answer.body).error_type]).toEqual([403, "forbidden"]);
    }
    for (const name of ["localhost", "127.0.0.1:1", "listed.example", "latentcast"])
      expect((await host(name)).status).toBe(200);
  });

  it("refuses what other pages may send without a preflight", async () => {
    const before = (await (await fetch(`${server.url}/health`)).json()).counters.accepted;
    const send = async (path: string, headers: Record<string, string>, body?: string): Promise<number> => {
      const all = { host: "localhost", connection: "close", "content-length": String(body?.length ?? 0), ...headers };
      const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
      return (await raw(`POST ${path} HTTP/1.1\r\n${lines.join("")}\r\n${body ?? ""}`)).status;
    };
    const foreign = { origin: "https://evil.example", "sec-fetch-site": "cross-site" };
    const json = { "content-type": "application/json" };
    expect(await send("/queue?fal_webhook=http%3A%2F%2F127.0.0.1%3A1%2F", foreign)).toBe(403);
    expect(await send("/", { ...foreign, ...json }, JSON.stringify(INPUT))).toBe(403);
    expect(await send("/requests/x/cancel", foreign)).toBe(403);
    // The same without the headers of newer browsers: what needs no preflight is not taken.
    expect(await send("/queue?fal_webhook=http%3A%2F%2F127.0.0.1%3A1%2F", {})).toBe(415);
    expect(await send("/queue", { "content-type": "text/plain" }, JSON.stringify(INPUT))).toBe(415);
    expect(await send("/", { "content-type": "text/plain" }, JSON.stringify(INPUT))).toBe(415);
    const after = (await (await fetch(`${server.url}/health`)).json()).counters.accepted;
    expect(after).toBe(before);
    expect(await send("/", { ...json, origin: PAGE, "sec-fetch-site": "cross-site" }, JSON.stringify(INPUT))).toBe(200);
  });
});

describe("bodies", () => {
  it("that are compressed are refused, and the error says what to send", async () => {
    const response = await fetch(server.url, {
      method: "POST",
      body: gzipSync(JSON.stringify(INPUT)),
      headers: { "content-type": "application/json", "content-encoding": "gzip" },
    });
    expect([response.status, response.headers.get("accept-encoding")]).toEqual([415, "identity"]);
    expect((await response.json()).error_type).toBe("unsupported_media_type");
  });

  it("with millions of values are refused at once, one long string is accepted", async () => {
    const refused = await fetch(server.url, {
      method: "POST",
      body: `{"prompt":"x","x":[${"{},".repeat(15_000_000)}{}]}`,
      headers: { "content-type": "application/json" },
    });
    expect([refused.status, (await refused.json()).error_type]).toEqual([413, "payload_too_large"]);
    expect((await post(server.url, { ...INPUT, unknown: "A".repeat(20_000_000) })).status).toBe(200);
  });

  it.each([
    ["announced", (body: string) => ({ body })],
    ["in pieces", (body: string) => ({ body: new Blob([body]).stream(), duplex: "half" as const })],
  ])("that are too large and %s are answered before the line is cut", async (_, init) => {
    const body = JSON.stringify({ prompt: "a", x: "x".repeat(80_000_000) });
    for (let attempt = 0; attempt < 2; attempt += 1) {
      const response = await fetch(server.url, {
        method: "POST",
        ...init(body),
        headers: { "content-type": "application/json" },
      });
      expect([response.status, (await response.json()).error_type]).toEqual([413, "payload_too_large"]);
    }
  });

  it("get no 100 Continue when they will be refused", async () => {
    const head = (length: number, host = "localhost"): string =>
      `POST / HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: ${length}\r\n\r\n`;
    expect((await raw(head(80_000_000))).status).toBe(413);
    expect((await raw(head(2, "evil.example"))).status).toBe(403);
    expect((await raw(`${head(2)}{}`)).status).toBe(100);
    expect((await raw(`${head(2).replace("100-continue", "something else")}{}`)).status).toBe(422);
  });
});

describe("a stream that fails", () => {
  it.each(["1.0", "1.1"])("over HTTP/%s does not look complete", async (version) => {
    await using failing = await startTestServer({ worker: "fails_after_preview" });
    await failing.ready();
    const body = JSON.stringify({ prompt: "out_of_memory" });
    const answer = await raw(
      `POST /stream HTTP/${version}\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
      failing.url,
    );
    expect(answer.status).toBe(200);
    expect(answer.body).toContain('"error_type"');
    const hasLastChunk = answer.body.endsWith("0\r\n\r\n");
    expect(version === "1.0" ? answer.wasReset : !hasLastChunk).toBe(true);
  });
});

describe("a process that runs out of file descriptors", () => {
  it("refuses new connections and keeps the open ones", async () => {
    const dataDir = await mkdtemp(join(tmpdir(), "latentcast-doors-"));
    try {
      await using small = await startServerProcess({ dataDir, descriptors: 256 });
      const { hostname, port } = new URL(small.url);
      await eventually(async () => expect((await fetch(`${small.url}/ready`)).status).toBe(200));
      const served = await post(`${small.url}/stream`, { prompt: "x", num_inference_steps: 20 });
      const sockets = Array.from({ length: 300 }, () => connect(Number(port), hostname).on("error", () => undefined));
      let dropped = 0;
      for (const socket of sockets) socket.once("close", () => (dropped += 1));
      await eventually(() => expect(dropped).toBeGreaterThan(0));
      expect(await served.text()).toContain('"timings"');
      for (const socket of sockets) socket.destroy();
      await eventually(async () => expect((await post(small.url, INPUT)).status).toBe(200));
      expect(small.log.join("\n")).not.toMatch(/EMFILE|internal error/);
    } finally {
      await rm(dataDir, { recursive: true, force: true });
    }
  });
});
