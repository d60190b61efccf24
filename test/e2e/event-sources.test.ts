/** Other people's readers of Server-Sent Events on ours: what they take for a message, when they come back, when they stop. */
import { fileURLToPath } from "node:url";
import { EventSource } from "eventsource";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, vi, type TestContext } from "vitest";
import { chromiumPath, startBrowser, startSite, type Site } from "../support/browser.ts";
import { bundle } from "../support/bundle.ts";
import { eventually } from "../support/eventually.ts";
import { withKeepAlive } from "../support/keep-alive.ts";
import { submit } from "../support/queue.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

declare global {
  // What the page's scripts have put there.
  var sources: typeof import("../fixtures/browser/event-sources.ts");
  var EventSourcePolyfill: typeof globalThis.EventSource;
}

// Comments between all events, so that a reader that takes one for a message shows it.
vi.mock("../../src/http/sse.ts", async (importOriginal) => withKeepAlive(await importOriginal(), 5));

const INPUT = { prompt: "x", num_inference_steps: 6 };

let site: Site | undefined;
let server: TestServer;
beforeAll(async () => {
  if (chromiumPath !== undefined) {
    const fixture = fileURLToPath(new URL("../fixtures/browser/event-sources.ts", import.meta.url));
    site = await startSite({ sources: await bundle(fixture) });
  }
  server = await startTestServer({
    worker: "fixture_worker",
    env: { LATENTCAST_CORS_ORIGINS: site?.origin ?? "https://page.example" },
  });
  await server.ready();
});
afterAll(async () => {
  await server.close();
  await site?.close();
});

let browser: Browser | undefined;
beforeAll(async () => {
  if (site !== undefined) browser = await startBrowser();
});
afterAll(() => browser?.close());

async function newPage({ skip }: TestContext): Promise<Page> {
  if (site === undefined || browser === undefined) return skip("needs Chromium");
  const page = await browser.newPage();
  await page.goto(site.origin);
  await page.addScriptTag({ path: fileURLToPath(import.meta.resolve("event-source-polyfill")) });
  return page;
}

describe("in a page", () => {
  it("fetch-event-source posts once and takes no comment for a message", async (context) => {
    const page = await newPage(context);
    const { accepted } = server.jobs.snapshot().counters;
    const messages = await page.evaluate(
      async ([url, body]) => {
        const seen: unknown[] = [];
        await globalThis.sources.fetchEventSource(`${url}/stream`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body,
          onmessage: ({ data }) => void seen.push(JSON.parse(data)),
          onerror: (error) => {
            throw error;
          },
        });
        return seen;
      },
      [server.url, JSON.stringify(INPUT)] as const,
    );
    expect(messages.length).toBeGreaterThan(1);
    expect(messages.at(-1)).toMatchObject({ prompt: "x", timings: {} });
    expect(server.jobs.snapshot().counters.accepted).toBe(accepted + 1);
  });
});

// They come back after seconds, and learn that there is nothing more.
describe.concurrent("the end of a queued request", () => {
  it("reaches eventsource in Node once, and it does not reconnect", async () => {
    const { events_url: url } = await submit(server.url, INPUT);
    const results: unknown[] = [];
    const source = new EventSource(url);
    source.addEventListener("result", ({ data }) => results.push(JSON.parse(String(data))));
    await eventually(() => expect(source.readyState).toBe(source.CLOSED), 30_000);
    expect(results).toEqual([expect.objectContaining({ prompt: "x" })]);
  });

  it.for(["EventSourcePolyfill", "ReconnectingEventSource"] as const)(
    "reaches %s once in a page, which reconnects with lastEventId in the address",
    async (name, context) => {
      const page = await newPage(context);
      const { events_url: url } = await submit(server.url, INPUT);
      // The answer that says there is nothing more.
      const told = page.waitForResponse(
        (response) => response.url().includes("lastEventId") && response.status() === 204,
      );
      const results = page.evaluate(
        ([kind, address]) =>
          new Promise<number>((resolve) => {
            const Source = kind === "EventSourcePolyfill" ? globalThis[kind] : globalThis.sources[kind];
            const source = new Source(address);
            let heard = 0;
            source.addEventListener("result", () => (heard += 1));
            Object.assign(globalThis, {
              finish: () => {
                source.close();
                resolve(heard);
              },
            });
          }),
        [name, url] as const,
      );
      await told;
      await page.evaluate("finish()");
      expect(await results).toBe(1);
    },
  );
});
