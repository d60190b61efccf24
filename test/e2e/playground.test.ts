/** The page at `GET /`: from a prompt to a picture, and what can go wrong on the way. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { chromiumPath } from "../support/browser.ts";
import { eventually } from "../support/eventually.ts";
import { type Playground, type PlaygroundOptions, usePages, usePaintingServer } from "../support/playground.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

const server = usePaintingServer();
const openPage = usePages(/status of 4\d\d/);

const open = (options: Partial<PlaygroundOptions> = {}): Promise<Playground> =>
  openPage({ server: server(), ...options });

describe("a run", () => {
  it("shows different previews and then the picture in the size that was asked for", async () => {
    const playground = await open();
    const { page } = playground;
    await page.getByRole("button", { name: /^3:2,/ }).click();
    await playground.generate("dunes under a low red sun");
    await playground.finished();
    expect(await playground.sizes()).toEqual([[320, 208]]);
    expect(await page.getByLabel("Width").inputValue()).toBe("320");

    const shown = new Set<string>();
    await playground.scrubber.focus();
    for (let moment = Number(await playground.scrubber.getAttribute("max")); moment >= 0; moment -= 1) {
      await page.keyboard.press("ArrowLeft");
      shown.add((await playground.pictures.getAttribute("src")) ?? "");
    }
    expect(shown.size).toBeGreaterThanOrEqual(4);
  });

  it("keeps the frame where it is from the first moment to the last", async () => {
    const playground = await open();
    await playground.page.evaluate(() => {
      const boxes = new Set<string>();
      Reflect.set(globalThis, "boxes", boxes);
      const look = (): void => {
        const box = document.querySelector("#plates .frame")?.getBoundingClientRect();
        if (box !== undefined) boxes.add([box.x, box.y, box.width, box.height].map(Math.round).join());
        requestAnimationFrame(look);
      };
      look();
    });
    await playground.generate("a lake");
    await playground.finished();
    const boxes = await playground.page.evaluate(() => [...(Reflect.get(globalThis, "boxes") as Set<string>)]);
    expect(boxes).toHaveLength(1);
  });

  it("tells steps, and the time to the first preview", async () => {
    const playground = await open();
    const statuses = await playground.textsOf("#status");
    await playground.generate("a lake");
    await playground.finished();
    expect(await statuses()).toEqual(expect.arrayContaining([expect.stringMatching(/^Step \d+ of 12$/)]));
    expect(await playground.page.locator("#facts").textContent()).toMatch(/^First preview after \d/);
    expect(await playground.status.textContent()).toMatch(/^Finished in \d/);
  });

  it("ends at the server when it is stopped", async () => {
    const before = server().jobs.snapshot().counters.cancelled;
    const playground = await open({ query: "?num_inference_steps=50" });
    await playground.generate("a lake");
    await playground.pictures.first().waitFor();
    await playground.page.getByRole("button", { name: "Stop" }).click();
    await eventually(() => expect(server().jobs.snapshot().counters.cancelled).toBe(before + 1));
    expect(await playground.status.textContent()).toMatch(/^Stopped after step \d+$/);
    await playground.page.getByRole("button", { name: "Generate", exact: true }).waitFor();
  });

  it("ends at the server when the page is closed", async () => {
    const before = server().jobs.snapshot().counters.cancelled;
    const playground = await open({ query: "?num_inference_steps=50" });
    await playground.generate("a lake");
    await playground.pictures.first().waitFor();
    await playground.page.close({ runBeforeUnload: true });
    await eventually(() => expect(server().jobs.snapshot().counters.cancelled).toBe(before + 1));
  });
});

describe("a link", () => {
  it("makes the same picture for somebody else", async () => {
    const first = await open();
    await first.generate("a lake before sunrise");
    await first.finished();
    const second = await open({ query: new URL(first.page.url()).search });
    expect(await second.page.getByLabel("Prompt", { exact: true }).inputValue()).toBe("a lake before sunrise");
    await second.generate();
    await second.finished();
    expect((await second.download()).bytes).toEqual((await first.download()).bytes);
  });

  it("brings the picture back at once after a reload, without asking the server", async () => {
    const playground = await open();
    await playground.generate("a lake before sunrise");
    await playground.finished();
    await playground.page.locator("#strip li").waitFor();
    const { bytes } = await playground.download();
    const { accepted } = server().jobs.snapshot().counters;
    await playground.page.reload();
    await playground.finished();
    expect((await playground.download()).bytes).toEqual(bytes);
    expect(server().jobs.snapshot().counters.accepted).toBe(accepted);
  });
});

describe("a value the server cannot use", () => {
  it("is marked, explained and focused", async () => {
    const playground = await open({ query: "?prompt=x&width=65" });
    await playground.generate();
    const width = playground.page.getByLabel("Width");
    await playground.page.locator("#width[aria-invalid=true]").waitFor();
    expect(await width.evaluate((field) => document.activeElement === field)).toBe(true);
    expect(await playground.page.locator("#width-complaint").textContent()).toContain("multiple of 8");
    expect(await playground.page.getByRole("alert").textContent()).toContain("Correct the marked field");
  });

  it("is no longer marked once it is right", async () => {
    const playground = await open({ query: "?prompt=x&width=65" });
    await playground.generate();
    await playground.page.locator("#width[aria-invalid=true]").waitFor();
    await playground.page.getByLabel("Width").fill("64");
    await playground.generate();
    await playground.finished();
    expect(await playground.page.locator("[aria-invalid=true]").count()).toBe(0);
    expect(await playground.page.getByRole("alert").count()).toBe(0);
  });
});

describe("a server with keys", () => {
  let guarded: TestServer;
  beforeAll(async () => {
    if (chromiumPath === undefined) return;
    guarded = await startTestServer({ worker: "paints_landscapes", env: { LATENTCAST_API_KEYS: "secret" } });
    await guarded.ready();
  });
  afterAll(() => guarded?.close());

  it("is asked again with the key, which only this tab remembers", async () => {
    const playground = await open({ server: guarded });
    const { page } = playground;
    await playground.generate("a lake");
    await page.getByLabel("API key").fill("secret");
    await page.keyboard.press("Enter");
    await playground.finished();
    expect(await page.evaluate(() => [Object.values(sessionStorage), localStorage.length, document.cookie])).toEqual([
      ["secret"],
      0,
      "",
    ]);
  });

  it("says so when no key is given, and asks again after a wrong one", async () => {
    const playground = await open({ server: guarded });
    const { page } = playground;
    await playground.generate("a lake");
    await page.getByLabel("API key").fill("wrong");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "asks for a key" }).waitFor();
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("alert").waitFor();
    expect(await page.getByRole("alert").textContent()).toContain("API key");
  });
});
