/** The page at `GET /` when the server is not at its best: loading, busy, out of reach, failing. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { type Playground, type PlaygroundOptions, usePages } from "../support/playground.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

const servers: TestServer[] = [];
// What the tests here do to the connection is what the browser complains about.
const openPage = usePages(/Failed to load resource|ERR_/);

afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

/** @param stepSeconds Long enough to do something meanwhile, where that is what the test is about. */
async function start(worker: string, stepSeconds = 0.02): Promise<TestServer> {
  vi.stubEnv("LATENTCAST_WORKER_FIXTURE_STEP_SECONDS", String(stepSeconds));
  const server = await startTestServer({ worker });
  servers.push(server);
  return server;
}

const open = (server: TestServer, options: Partial<PlaygroundOptions> = {}): Promise<Playground> =>
  openPage({ server, ...options });

describe("a connection that breaks", () => {
  it("is told and taken up again, and the picture is the one it would have been", async () => {
    const server = await start("paints_landscapes", 0.1);
    await server.ready();
    const query = "?prompt=a+lake&seed=7&num_inference_steps=40&preview.every=1";
    const undisturbed = await open(server, { query });
    await undisturbed.generate();
    await undisturbed.finished();

    const playground = await open(server, { query });
    const statuses = await playground.textsOf("#status");
    await playground.generate();
    await playground.pictures.first().waitFor();
    server.app.server.closeAllConnections();
    await playground.finished();
    expect(await statuses()).toContain("Connection lost. Trying again; the server goes on with the picture.");
    expect((await playground.download()).bytes).toEqual((await undisturbed.download()).bytes);
    expect(server.jobs.snapshot().counters).toMatchObject({ accepted: 2, succeeded: 2 });
  });
});

describe("a server", () => {
  it("that still loads its model says how far it is, and takes the request meanwhile", async () => {
    const server = await start("loads_in_stages");
    const playground = await open(server);
    await playground.page.getByText("loading the model 50 %", { exact: true }).waitFor();
    await playground.generate("a lake");
    await playground.statusIs("Waiting for the model: loading the model 50 %");
    process.kill(server.jobs.snapshot().workers[0]!.pid!, "SIGUSR1");
    await playground.finished();
    await playground.page.locator("#service", { hasText: "fixture" }).waitFor();
    expect(server.jobs.snapshot().counters).toMatchObject({ accepted: 1, succeeded: 1 });
  });

  it("that is busy with others says whose turn it is", async () => {
    const server = await start("one_at_a_time", 0.2);
    await server.ready();
    const first = await open(server, { query: "?num_inference_steps=50" });
    const second = await open(server);
    await first.generate("a lake");
    await first.statusIs(/^Step /);
    await second.generate("dunes");
    await second.statusIs(/^Next in line/);
    await first.page.getByRole("button", { name: "Stop" }).click();
    await second.statusIs(/^Finished/);
    expect(server.jobs.snapshot().counters).toMatchObject({ accepted: 2, succeeded: 1, cancelled: 1 });
  });

  it("that cannot finish the picture says why and what to do, and keeps what formed", async () => {
    // Of a job that has ended a late listener hears the ending only, so the first step must outlast the page's second request.
    const server = await start("fails_after_preview", 0.5);
    await server.ready();
    const playground = await open(server);
    await playground.generate("out_of_memory");
    const alert = playground.page.getByRole("alert");
    await alert.waitFor();
    expect(await alert.textContent()).toMatch(/ran out of memory.* Choose a smaller size.*\nRequest [0-9a-f-]{36}$/);
    await playground.page.getByAltText("out_of_memory (step 1 of 6)").waitFor();
  });

  it("that has gone is noticed, and so is its return", async () => {
    const server = await start("paints_landscapes");
    await server.ready();
    const playground = await open(server);
    await playground.page.locator("#service[data-status=ready]").waitFor();
    await playground.page.context().setOffline(true);
    await playground.generate("a lake");
    await playground.page.getByRole("alert").waitFor();
    expect(await playground.page.getByRole("alert").textContent()).toContain("Check that the server is running");
    await playground.page.context().setOffline(false);
    await playground.generate();
    await playground.finished();
    expect(await playground.page.getByRole("alert").count()).toBe(0);
  });
});
