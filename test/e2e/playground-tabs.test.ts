/** Several tabs of one browser, and tabs that are closed at any moment. */
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { chromiumPath } from "../support/browser.ts";
import { eventually } from "../support/eventually.ts";
import { type Playground, type PlaygroundOptions, usePages } from "../support/playground.ts";
import { startTestServer, type TestServer } from "../support/server.ts";
import { startSlowLine } from "../support/slow-line.ts";

// How a server answers a stop that comes too late, or before its request.
const openPage = usePages(/status of 40[04]/);

let server: TestServer;
beforeAll(async () => {
  if (chromiumPath === undefined) return;
  vi.stubEnv("LATENTCAST_WORKER_FIXTURE_STEP_SECONDS", "0.1");
  server = await startTestServer({ worker: "paints_landscapes" });
  await server.ready();
});
afterAll(async () => {
  await server?.close();
  vi.unstubAllEnvs();
});

const open = (options: Partial<PlaygroundOptions> = {}): Promise<Playground> => openPage({ server, ...options });

/** All of its pictures have begun to form. */
async function showsAll({ page }: Playground, count: number): Promise<void> {
  await page.waitForFunction(
    (expected) => document.querySelectorAll("#plates .frame > img:not([alt=''])").length === expected,
    count,
    { timeout: 60_000 },
  );
}

describe.each([
  ["that see each other", undefined],
  [
    "that have no locks, as over plain HTTP from another machine",
    "Object.defineProperty(navigator, 'locks', { value: undefined })",
  ],
])("tabs %s", (_name, script) => {
  it("share the browser's connections: three with four runs each leave room for a fourth", async () => {
    const query = "?runs=4&seed=1&num_inference_steps=13&width=128&height=128";
    const options = script === undefined ? {} : { script };
    const { accepted } = server.jobs.snapshot().counters;
    const first = await open({ query, ...options });
    const tabs = [
      first,
      await open({ query, beside: first, ...options }),
      await open({ query, beside: first, ...options }),
    ];
    for (const tab of tabs) await tab.generate("a lake");
    await eventually(() => expect(server.jobs.snapshot().counters.accepted).toBe(accepted + 12));
    for (const tab of tabs) await showsAll(tab, 4);

    const fourth = await open({ beside: first, query: "?num_inference_steps=2&width=128&height=128", ...options });
    await fourth.generate("dunes");
    await fourth.finished();
    for (const tab of tabs) await tab.finished();
    await eventually(() => expect(server.jobs.snapshot().queue.unfinished).toBe(0));
  });
});

describe("a page that is closed on a slow line", () => {
  const hasAccepted = (before: number) => (): void => expect(server.jobs.snapshot().counters.accepted).toBe(before + 1);

  it.each([
    ["at once after Generate", () => Promise.resolve()],
    [
      "before it has heard that its request was accepted",
      (_page: Playground, before: number) => eventually(hasAccepted(before)),
    ],
    ["once it has heard", (playground: Playground) => playground.statusIs(/^(Step|Starting|Next)/)],
  ])("leaves no work behind: %s", async (_name, moment) => {
    const before = server.jobs.snapshot().counters;
    const line = await startSlowLine(server.url, 800);
    try {
      // Five seconds of work: the stop has to get there before the end, also from a browser on a busy machine.
      const playground = await open({ server: { ...server, url: line.url }, query: "?num_inference_steps=50" });
      await playground.page.locator("#service[data-status=ready]").waitFor();
      await playground.generate("a lake");
      await moment(playground, before.accepted);
      await playground.page.close({ runBeforeUnload: true });
      await eventually(() => expect(server.jobs.snapshot().queue.unfinished).toBe(0));
    } finally {
      await line.close();
    }
    // A submit may have been on its way until the line was closed.
    await eventually(() => expect(server.jobs.snapshot().queue.unfinished).toBe(0));
    expect(server.jobs.snapshot().counters.succeeded).toBe(before.succeeded);
  });
});
