/** The page at `GET /` for somebody who sees it for the first time, on a phone too; and what it says when something went wrong. */
import { afterEach, describe, expect, it } from "vitest";
import { type Playground, type PlaygroundOptions, usePages, usePaintingServer } from "../support/playground.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

const painting = usePaintingServer();
const servers: TestServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});
// After the servers' hook, so that pages are closed before their server.
const openPage = usePages();

async function start(worker: string, stepSeconds: number): Promise<TestServer> {
  const server = await startTestServer({
    worker,
    env: { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: String(stepSeconds) },
  });
  servers.push(server);
  await server.ready();
  return server;
}

const open = (options: Partial<PlaygroundOptions> = {}): Promise<Playground> =>
  openPage({ server: painting(), ...options });

describe("on a phone", () => {
  const viewport = { width: 360, height: 640 };

  it("Generate and the examples are there without scrolling", async () => {
    const { page } = await open({ viewport });
    const examples = page.getByRole("list", { name: "Examples" }).getByRole("button");
    await examples.first().waitFor();
    for (const target of [page.getByRole("button", { name: "Generate", exact: true }), ...(await examples.all())]) {
      const box = (await target.boundingBox())!;
      expect(box.y + box.height).toBeLessThanOrEqual(viewport.height);
      // WCAG 2.2 asks for 24 pixels.
      expect(box.height).toBeGreaterThanOrEqual(24);
    }
  });

  it("an example is one tap away from its picture", async () => {
    const playground = await open({ viewport, hasTouch: true });
    await playground.page.getByRole("button", { name: "dunes under a low red sun" }).tap();
    await playground.finished();
    expect(await playground.captions()).toEqual(["dunes under a low red sun (finished)"]);
  });

  it("Generate stays in reach below the last setting", async () => {
    const { page } = await open({ viewport });
    await page.getByText("Negative prompt, format, previews").scrollIntoViewIfNeeded();
    await page.getByText("Negative prompt, format, previews").click();
    await page.getByLabel("Longest side").scrollIntoViewIfNeeded();
    const box = (await page.getByRole("button", { name: "Generate", exact: true }).boundingBox())!;
    expect(box.y).toBeGreaterThanOrEqual(0);
    expect(box.y + box.height).toBeLessThanOrEqual(viewport.height);
  });
});

describe("a model that knows few words", () => {
  it("shows which of them the prompt names, while it is typed", async () => {
    const { page } = await open();
    await page.locator("#service[data-status=ready]").waitFor();
    await page.locator("#prompt").pressSequentially("a red boat under northern lights");
    expect(await page.locator("#understood").textContent()).toBe("Understood: red, boat, northern lights");
    await page.locator("#prompt").fill("a cat");
    expect(await page.locator("#understood").textContent()).toBe("");
  });

  it("answers a prompt it knows nothing of with a picture, and says what it paints; the next one is not remarked on", async () => {
    const playground = await open();
    await playground.generate("a cat");
    await playground.finished();
    const remark = playground.page.locator("#remark");
    expect(await playground.captions()).toEqual(["a cat (finished)"]);
    expect(await remark.textContent()).toMatch(/^This small model paints landscapes out of noise; .*GPU.*\.$/);
    await playground.generate("a lake");
    await playground.finished();
    expect(await remark.textContent()).toBe("");
  });

  it("lists its words", async () => {
    const { page } = await open();
    await page.getByText("What this model knows").click();
    expect(await page.locator("#words-list").textContent()).toContain("lake · dunes");
  });
});

describe("a picture that waits", () => {
  it("says in its frame how many are ahead, for each of several", async () => {
    const server = await start("one_at_a_time", 0.5);
    const first = await open({ server, query: "?num_inference_steps=50" });
    await first.generate("a lake");
    await first.statusIs(/^Step /);
    const second = await open({ server, query: "?runs=2&num_inference_steps=2" });
    await second.generate("dunes");
    const notes = second.page.locator(".plate-note");
    await notes.filter({ hasText: "Next in line" }).waitFor();
    await notes.filter({ hasText: "1 ahead in line" }).waitFor();
    await first.page.getByRole("button", { name: "Stop" }).click();
    await second.finished();
    expect(await notes.allTextContents()).toEqual(["", ""]);
  });
});

describe("a picture that failed", () => {
  it("offers to try it smaller when the memory did not suffice", async () => {
    const server = await start("fails_after_preview", 0.5);
    const playground = await open({ server, query: "?width=64&height=128&seed=3" });
    await playground.generate("out_of_memory");
    const next = playground.page.getByRole("button", { name: "Try it smaller" });
    await next.waitFor();
    // Once, with what to do about it.
    expect((await playground.page.locator("#stage").innerText()).match(/ran out of memory/g)).toHaveLength(1);
    expect(await playground.page.getByRole("alert").textContent()).toContain("ran out of memory");
    await next.click();
    await playground.page.getByRole("button", { name: "Stop" }).waitFor();
    expect(await playground.page.getByLabel("Height").inputValue()).toBe("64");
    expect(await playground.page.locator("#seed").inputValue()).toBe("3");
  });

  it("offers another seed when the numbers came out wrong", async () => {
    const server = await start("fails_after_preview", 0.5);
    const playground = await open({ server, query: "?seed=3" });
    await playground.generate("numerical_error");
    await playground.page.getByRole("button", { name: "Try another seed" }).click();
    await playground.page.getByRole("button", { name: "Stop" }).waitFor();
    expect(await playground.page.locator("#seed").inputValue()).not.toBe("3");
  });
});
