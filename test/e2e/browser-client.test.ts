/** Pages of another origin in a real browser: fal's client through `proxyUrl`, and our own. */
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { chromiumPath, startBrowser, startSite, type Site } from "../support/browser.ts";
import { bundle } from "../support/bundle.ts";
import { eventually } from "../support/eventually.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

declare global {
  // What the page's own script has put there.
  var fal: typeof import("../fixtures/browser/fal.ts");
  var latentcast: typeof import("../../src/client/index.ts");
}

let server: TestServer;
let site: Site;
let browser: Browser;
let page: Page;

beforeAll(async () => {
  if (chromiumPath === undefined) return;
  const [client, fal] = await Promise.all([
    bundle(fileURLToPath(new URL("../../src/client/index.ts", import.meta.url))),
    bundle(fileURLToPath(new URL("../fixtures/browser/fal.ts", import.meta.url))),
  ]);
  site = await startSite({ latentcast: client, fal });
  server = await startTestServer({
    worker: "pause_before_preview",
    env: { LATENTCAST_API_KEYS: "secret", LATENTCAST_CORS_ORIGINS: site.origin },
  });
  await server.ready();
  browser = await startBrowser();
  page = await browser.newPage();
  await page.goto(site.origin);
});
afterAll(async () => {
  await browser?.close();
  await server?.close();
  await site?.close();
});
beforeEach((context) => {
  if (chromiumPath === undefined) context.skip("needs Chromium");
});

describe("fal's client on a page of another origin", () => {
  it("runs, streams and reads the request's id", async () => {
    const seen = await page.evaluate(
      async ([url]) => {
        const client = globalThis.fal.createFalClient({
          credentials: "secret",
          suppressLocalCredentialsWarning: true,
          proxyUrl: `${url}/fal`,
        });
        const run = await client.run("local/sdxl", { input: { prompt: "x", seed: 1 } });
        const queued = await client.subscribe("local/sdxl", { input: { prompt: "x", seed: 1 }, pollInterval: 20 });
        const stream = await client.stream("local/sdxl", { input: { prompt: "x", seed: 1 } });
        let events = 0;
        for await (const _event of stream) events += 1;
        return { run, queued, events, result: await stream.done(), streamId: stream.requestId };
      },
      [server.url],
    );
    expect(seen.run.data).toMatchObject({ seed: 1, prompt: "x" });
    expect(seen.queued.data).toMatchObject({ seed: 1, prompt: "x" });
    expect(seen.queued.requestId).toMatch(/^[0-9a-f-]{36}$/);
    expect(seen.run.requestId).toMatch(/^[0-9a-f-]{36}$/);
    expect(seen.streamId).toMatch(/^[0-9a-f-]{36}$/);
    expect(seen.events).toBeGreaterThanOrEqual(2);
    expect(seen.result.image).toEqual(seen.run.data.image);
  });
});

describe("our client on a page of another origin", () => {
  it("streams, and reports wrong fields", async () => {
    const seen = await page.evaluate(async (url) => {
      const client = globalThis.latentcast.createClient({ baseUrl: url, apiKey: "secret" });
      const stream = client.stream({ prompt: "x", seed: 2, num_inference_steps: 50 });
      const kinds: string[] = [];
      for await (const event of stream) kinds.push(event.kind);
      const { image, requestId } = await stream.result();
      const refused = await client.generate({ prompt: "" }).catch((error: unknown) => error);
      const stranger = globalThis.latentcast.createClient({ baseUrl: url, apiKey: "wrong" });
      const unknown = await stranger.generate({ prompt: "x" }).catch((error: unknown) => error);
      const codes = [refused, unknown].map((error) =>
        error instanceof globalThis.latentcast.LatentcastError ? error.code : "none",
      );
      return { kinds, image, requestId, streamId: stream.requestId, codes };
    }, server.url);
    expect(seen.kinds).toContain("preview");
    expect(seen.image).toMatchObject({ width: 64, contentType: "image/jpeg" });
    expect(seen.requestId).toBe(seen.streamId);
    expect(seen.codes).toEqual(["invalid_request", "unauthorized"]);
  });

  it("reads when to come back", async () => {
    const limited = await startTestServer({
      worker: "pause_before_preview",
      env: { LATENTCAST_RATE_LIMIT_PER_MINUTE: "1", LATENTCAST_CORS_ORIGINS: site.origin },
    });
    try {
      const error = await page.evaluate(async (url) => {
        const client = globalThis.latentcast.createClient({ baseUrl: url });
        await client.submit({ prompt: "" });
        return client.submit({ prompt: "" }).then(
          () => null,
          ({ code, retryAfterSeconds }) => ({ code, retryAfterSeconds }),
        );
      }, limited.url);
      expect(error).toEqual({ code: "rate_limited", retryAfterSeconds: expect.any(Number) });
    } finally {
      await limited.close();
    }
  });

  it("stops the server's work when the page is left", async () => {
    const before = server.devices().cancelled;
    const other = await browser.newPage();
    await other.goto(site.origin);
    await other.evaluate(async (url) => {
      const client = globalThis.latentcast.createClient({ baseUrl: url, apiKey: "secret" });
      const events = client.stream({ prompt: "until never" })[Symbol.asyncIterator]();
      while ((await events.next()).value?.kind !== "progress");
      void events.next();
    }, server.url);
    await other.goto("about:blank");
    await eventually(() => expect(server.devices().cancelled).toBe(before + 1));
  });
});
