/** What anybody can send by hand, and what must never come of it. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestServer, type TestServer } from "../support/server.ts";

let server: TestServer;
/** Somebody else's server, which must never hear from ours. */
let stranger: Server;
let heard = 0;
let strangerUrl: string;
beforeAll(async () => {
  server = await startTestServer({
    worker: "fixture_worker",
    env: { LATENTCAST_CORS_ORIGINS: "https://pages.example" },
  });
  await server.ready();
  stranger = createServer((_request, response) => {
    heard += 1;
    response.end("{}");
  });
  stranger.listen(0, "127.0.0.1");
  await once(stranger, "listening");
  // A listening TCP server has an address of this form.
  strangerUrl = `http://127.0.0.1:${(stranger.address() as AddressInfo).port}`;
});
afterAll(async () => {
  stranger.close();
  await server.close();
});

interface Answer {
  readonly status: number;
  readonly headers: string;
  readonly body: string;
}

async function curl(path: string, ...args: readonly string[]): Promise<Answer> {
  const { stdout } = await promisify(execFile)("curl", ["-sSi", `${server.url}${path}`, ...args], {
    maxBuffer: 2 ** 26,
  });
  // An upload may be answered with `100 Continue` first.
  const answer = stdout.replace(/^HTTP\/1\.1 100 [^]*?\r\n\r\n/, "");
  const end = answer.indexOf("\r\n\r\n");
  return {
    status: Number(answer.slice(9, 12)),
    headers: answer.slice(0, end).toLowerCase(),
    body: answer.slice(end + 4),
  };
}

const JSON_TYPE = ["-H", "content-type: application/json"];
const INPUT = [...JSON_TYPE, "-d", '{"prompt":"x"}'];

describe("curl", () => {
  it("gets an image, and a stream of them", async () => {
    expect(await curl("/", ...INPUT)).toMatchObject({
      status: 200,
      body: expect.stringContaining('"image":{"url":"data:image/jpeg;base64,'),
    });
    const { status, headers, body } = await curl("/stream", "-N", ...INPUT);
    expect(status).toBe(200);
    expect(headers).toContain("content-type: text/event-stream");
    expect(body.match(/^data: /gm)?.length).toBeGreaterThanOrEqual(2);
  });

  it.each([
    ["https://fal.run/a/b", 200, '"image"'],
    ["https://falrun.com/a/b", 200, '"image"'],
    ["https://fal.run/fal-ai/fast-sdxl", 200, '"images"'],
    ["https://queue.fal.run/a/b", 200, '"IN_QUEUE"'],
    ["https://queue.falrun.com/a/b", 200, '"IN_QUEUE"'],
    ["https://rest.fal.ai/storage/upload/initiate?storage_type=fal-cdn-v3", 200, '"upload_url"'],
    ["https://rest.alpha.fal.ai/storage/upload/initiate", 200, '"upload_url"'],
  ])("reaches %s through the proxy address", async (target, status, part) => {
    for (const path of ["/fal", "/api/fal/proxy"]) {
      const answer = await curl(path, "-H", `x-fal-target-url: ${target}`, ...INPUT);
      expect(answer).toMatchObject({ status, body: expect.stringContaining(part) });
    }
  });

  it("reaches a queued request through the proxy with an empty JSON body", async () => {
    const { body } = await curl("/queue/a/b", ...INPUT);
    const { request_id: id } = JSON.parse(body) as { request_id: string };
    const target = `x-fal-target-url: https://queue.fal.run/a/b/requests/${id}/cancel`;
    expect([200, 202, 400]).toContain((await curl("/fal", "-X", "PUT", "-H", target, ...JSON_TYPE)).status);
  });

  it("is answered by name under every path it might guess", async () => {
    expect(await curl("/a/b?x=1", ...INPUT)).toMatchObject({ status: 200 });
    expect(await curl("//stream", ...INPUT)).toMatchObject({ status: 200 });
    expect(await curl("/stream/", ...INPUT)).toMatchObject({ status: 200 });
    expect(await curl("/fal/a/b", ...INPUT)).toMatchObject({ status: 200 });
    expect(await curl("/nowhere")).toMatchObject({
      status: 404,
      body: expect.stringContaining('"detail":"Path /nowhere not found"'),
    });
    expect(await curl("/stream")).toMatchObject({
      status: 405,
      headers: expect.stringContaining("x-fal-request-id: "),
    });
  });
});

describe("an address that is not fal's", () => {
  it.each([
    () => strangerUrl,
    () => strangerUrl.replace("http:", "https:"),
    () => `${strangerUrl}/#https://fal.run`,
    () => `https://fal.run@${new URL(strangerUrl).host}/a/b`,
    () => `https://fal.run.${new URL(strangerUrl).host}/`,
    () => "https://notfal.run/a/b",
    () => "http://fal.run/a/b",
    () => "file:///etc/passwd",
    () => "//fal.run/a/b",
    () => "",
  ])("is refused and never called (%#)", async (target) => {
    for (const path of ["/fal", "/api/fal/proxy"]) {
      const answer = await curl(path, "-H", `x-fal-target-url: ${target()}`, ...INPUT);
      expect(answer).toMatchObject({ status: 400, body: expect.stringContaining("x-fal-target-url") });
    }
    expect(heard).toBe(0);
  });

  it("is not called for an input that names it", async () => {
    const image = JSON.stringify({ prompt: "x", image_url: `${strangerUrl}/x.png` });
    const loras = JSON.stringify({ prompt: "x", loras: [{ path: strangerUrl }] });
    for (const path of ["/", "/fal-ai/fast-sdxl"]) {
      const refused = await curl(path, ...JSON_TYPE, "-d", image);
      expect(refused).toMatchObject({ status: 422, body: expect.stringContaining("image_url") });
      expect((await curl(path, ...JSON_TYPE, "-d", loras)).status).toBe(200);
    }
    expect(heard).toBe(0);
  });
});

describe("a browser's question beforehand", () => {
  const ask = (origin: string): Promise<Answer> =>
    curl(
      "/fal",
      "-X",
      "OPTIONS",
      ...["-H", `origin: ${origin}`, "-H", "access-control-request-method: PUT"],
      ...["-H", "access-control-request-headers: authorization,content-type,x-fal-target-url,x-fal-queue-priority"],
    );

  it("is answered with all that fal's client sends, for the pages that may", async () => {
    const { status, headers } = await ask("https://pages.example");
    expect(status).toBe(204);
    expect(headers).toContain("access-control-allow-origin: https://pages.example");
    expect(headers).toMatch(/access-control-allow-methods: .*put/);
    expect(headers).toMatch(
      /access-control-allow-headers: authorization,\s*content-type,\s*x-fal-target-url,\s*x-fal-queue-priority/,
    );
  });

  it("is answered with nothing for other pages", async () => {
    expect((await ask("https://elsewhere.example")).headers).not.toContain(
      "access-control-allow-origin: https://elsewhere",
    );
  });
});
