/** The page at `GET /`: pictures that are drawn while one types, moves a slider or sketches. */
import type { Socket } from "node:net";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { overflowOf, seriousFindings } from "../support/axe.ts";
import { chromiumPath } from "../support/browser.ts";
import { eventually } from "../support/eventually.ts";
import { stroke } from "../support/pad.ts";
import { type Playground, type PlaygroundOptions, usePages, usePaintingServer } from "../support/playground.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

const server = usePaintingServer();
const openPage = usePages(/WebSocket|status of 401/);

/** A page that draws live. */
async function live(options: Partial<PlaygroundOptions> = {}): Promise<Playground> {
  const playground = await openPage({ server: server(), query: "?seed=1", ...options });
  const { page } = playground;
  await page.locator("#service[data-status=ready]").waitFor();
  await page.getByRole("switch", { name: "Live" }).click();
  await page.getByRole("switch", { name: "Live", checked: true }).waitFor();
  return playground;
}

/** What the picture on the stage has shown since this was called, one after the other. */
async function captionsSince({ page }: Playground): Promise<() => Promise<string[]>> {
  await page.evaluate(() => {
    const captions: string[] = [];
    Reflect.set(globalThis, "captions", captions);
    new MutationObserver((records) => {
      for (const { target } of records) {
        const { alt } = target as HTMLImageElement;
        if (alt !== undefined && alt !== "" && captions.at(-1) !== alt) captions.push(alt);
      }
    }).observe(document.getElementById("plates")!, { attributes: true, attributeFilter: ["alt"], subtree: true });
  });
  return () => page.evaluate(() => Reflect.get(globalThis, "captions") as string[]);
}

async function shows(playground: Playground, prompt: string): Promise<void> {
  await eventually(async () => expect(await playground.captions()).toEqual([`${prompt} (finished)`]));
}

/** Mean red, green and blue of the picture. */
async function meanOf(playground: Playground): Promise<[number, number, number]> {
  const { channels } = await sharp((await playground.download()).bytes).stats();
  return [channels[0]!.mean, channels[1]!.mean, channels[2]!.mean];
}

describe("typing", () => {
  it("changes the picture again and again, and ends on the last text", async () => {
    const playground = await live();
    const captions = await captionsSince(playground);
    const text = "a lake before sunrise, thin mist";
    await playground.page.locator("#prompt").pressSequentially(text, { delay: 60 });
    await shows(playground, text);
    expect(new Set(await captions()).size).toBeGreaterThanOrEqual(3);
    expect(await playground.page.locator("#facts").textContent()).toMatch(/^Drawn \d[\d.]* s after the change$/);
  });

  it("ends, once it rests, on the picture that Generate makes", async () => {
    const playground = await live({ query: "?seed=1&prompt=a+lake" });
    const other = await openPage({ server: server(), query: "?seed=1&prompt=dunes" });
    await other.page.locator("#service[data-status=ready]").waitFor();
    await other.generate();
    await other.finished();
    const { bytes } = await other.download();
    await playground.page.locator("#prompt").fill("dunes");
    await shows(playground, "dunes");
    await eventually(async () => expect((await playground.download()).bytes).toEqual(bytes));
    await playground.generate();
    await playground.statusIs(/^Finished/);
    expect((await playground.download()).bytes).toEqual(bytes);
    expect(await playground.page.locator("#seed").inputValue()).toBe("1");
  });

  it("draws nothing while there is no text, and nothing once it is switched off", async () => {
    const { accepted } = server().jobs.snapshot().counters;
    const playground = await live();
    const { page } = playground;
    await playground.statusIs(/^Live/);
    await page.getByRole("switch", { name: "Live" }).click();
    await page.locator("#prompt").fill("a lake");
    await eventually(() => expect(new URL(page.url()).searchParams.get("prompt")).toBe("a lake"));
    await playground.generate();
    await playground.finished();
    expect(server().jobs.snapshot().counters.accepted).toBe(accepted + 1);
  });
});

describe("a value that the server cannot use", () => {
  it("is explained where one looks, and the next one is drawn", async () => {
    const playground = await live({ query: "?seed=1&prompt=a+lake" });
    const { page } = playground;
    await shows(playground, "a lake");
    await page.locator("#guidance_scale").fill("99");
    await playground.statusIs(/guidance_scale: /);
    await page.locator("#guidance_scale").fill("5");
    await page.locator("#width").fill("128");
    await eventually(async () => expect(await playground.sizes()).toEqual([[128, 256]]));
    expect(await playground.status.textContent()).toMatch(/^Live/);
  });
});

describe("a sketch", () => {
  it("leads the picture while it is drawn", async () => {
    const playground = await live({ query: "?seed=1&prompt=a+lake&strength=0.1" });
    const { page } = playground;
    await page.getByRole("button", { name: "Sketch one" }).click();
    const paint = async (colour: string): Promise<void> => {
      await page.getByRole("radio", { name: colour }).click();
      await page.getByRole("button", { name: "Fill" }).click();
    };
    await paint("night blue");
    await eventually(async () => {
      const [red, , blue] = await meanOf(playground);
      expect(blue - red).toBeGreaterThan(30);
    });
    await paint("orange");
    await eventually(async () => {
      const [red, , blue] = await meanOf(playground);
      expect(red - blue).toBeGreaterThan(100);
    });
    const captions = await playground.pictures.first().getAttribute("src");
    // In the middle of a stroke.
    await page.getByRole("radio", { name: "black" }).click();
    const box = (await page.locator("#pad-view").boundingBox())!;
    await page.mouse.move(box.x + 10, box.y + box.height / 2);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width - 10, box.y + box.height / 2, { steps: 8 });
    await eventually(async () => expect(await playground.pictures.first().getAttribute("src")).not.toBe(captions));
    await page.mouse.up();
  });

  it("moves the picture with its strength", async () => {
    const playground = await live({ query: "?seed=1&prompt=a+lake&strength=1" });
    const { page } = playground;
    await page.getByRole("button", { name: "Sketch one" }).click();
    await page.getByRole("button", { name: "Fill" }).click();
    const slider = page.getByRole("slider", { name: "Strength" });
    await slider.focus();
    await page.keyboard.press("Home");
    for (let press = 0; press < 10; press += 1) await page.keyboard.press("ArrowRight");
    await eventually(async () => {
      const [red, , blue] = await meanOf(playground);
      expect(red - blue).toBeGreaterThan(100);
    });
  });
});

describe("a connection that breaks", () => {
  it("is told and opened again, and the picture follows", async () => {
    const sockets = new Set<Socket>();
    const note = (socket: Socket): void => void sockets.add(socket);
    server().app.server.on("connection", note);
    const playground = await live({ query: "?seed=1&prompt=a+lake" });
    await shows(playground, "a lake");
    const statuses = await playground.textsOf("#status");
    for (const socket of sockets) socket.destroy();
    server().app.server.off("connection", note);
    await playground.page.locator("#prompt").fill("dunes");
    await shows(playground, "dunes");
    expect(await statuses()).toContain("Connection lost. Trying again.");
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

  it("is asked with the key; without one the switch goes back", async () => {
    const playground = await live({ server: guarded, query: "?seed=1&prompt=a+lake" });
    const { page } = playground;
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByRole("switch", { name: "Live", checked: false }).click();
    await page.getByLabel("API key").fill("secret");
    await page.keyboard.press("Enter");
    await shows(playground, "a lake");
    expect(guarded.jobs.snapshot().counters.succeeded).toBeGreaterThanOrEqual(1);
  });
});

describe("the live page", () => {
  it.each(["light", "dark"] as const)("has nothing that axe finds serious, in %s", async (colorScheme) => {
    const playground = await live({ query: "?seed=1&prompt=a+lake", colorScheme });
    await shows(playground, "a lake");
    expect(await seriousFindings(playground.page)).toEqual([]);
  });

  it("keeps the picture in sight on a phone while the sketch is painted", async () => {
    const viewport = { width: 360, height: 740 };
    const playground = await live({ query: "?seed=1&prompt=a+lake", viewport });
    const { page } = playground;
    await shows(playground, "a lake");
    await page.getByRole("button", { name: "Sketch one" }).click();
    await page.getByRole("radio", { name: "sky blue" }).click();
    await stroke(page, [
      [0.2, 0.5],
      [0.8, 0.5],
    ]);
    expect(await overflowOf(page)).toBe(0);
    const picture = (await playground.pictures.first().boundingBox())!;
    const pad = (await page.locator("#pad-view").boundingBox())!;
    expect(picture.y).toBeGreaterThanOrEqual(0);
    expect(pad.y).toBeGreaterThanOrEqual(picture.y + picture.height);
    expect(pad.y).toBeLessThan(viewport.height);
  });

  it("is switched by keyboard", async () => {
    const playground = await openPage({ server: server(), query: "?seed=1&prompt=a+lake" });
    await playground.page.locator("#go").focus();
    await playground.page.keyboard.press("Tab");
    await playground.page.keyboard.press("Space");
    await shows(playground, "a lake");
    expect(await playground.page.getByRole("button", { name: "Keep this seed" }).getAttribute("aria-pressed")).toBe(
      "true",
    );
  });
});
