/** The page at `GET /` as a page: for every eye and hand, light, and on its own. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Page } from "playwright-core";
import { describe, expect, it } from "vitest";
import { overflowOf, seriousFindings } from "../support/axe.ts";
import { eventually } from "../support/eventually.ts";
import { type Playground, type PlaygroundOptions, usePages, usePaintingServer } from "../support/playground.ts";

const server = usePaintingServer();
// How a server answers a stop that comes too late, on a machine that was slow to bring it.
const openPage = usePages(/status of 400/);

async function open(options: Partial<PlaygroundOptions> = {}): Promise<Playground> {
  const playground = await openPage({ server: server(), ...options });
  await playground.page.locator("#service[data-status=ready]").waitFor();
  return playground;
}

describe.each(["light", "dark"] as const)("the %s page", (colorScheme) => {
  it("has nothing that axe finds serious, empty, with pictures, and in its dialogs", async () => {
    const playground = await open({ colorScheme, query: "?seed=1&num_images=2" });
    const { page } = playground;
    expect(await seriousFindings(page)).toEqual([]);
    await playground.generate("a lake");
    await playground.finished();
    await page.locator("#strip li").first().waitFor();
    await page.getByText("Negative prompt, format, previews").click();
    expect(await seriousFindings(page)).toEqual([]);
    await page.getByRole("button", { name: "Full view" }).click();
    expect(await seriousFindings(page)).toEqual([]);
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Divider" }).click();
    expect(await seriousFindings(page)).toEqual([]);
    await page.getByRole("button", { name: "Open a result" }).click();
    await page.getByLabel("JSON that a server answered").fill('{"text":"a lake"}');
    expect(await seriousFindings(page)).toEqual([]);
  });

  it.each([360, 768, 1920])("has all of itself within a width of %i pixels", async (width) => {
    const playground = await open({ colorScheme, viewport: { width, height: 740 }, query: "?seed=1&runs=4" });
    const { page } = playground;
    expect(await overflowOf(page)).toBe(0);
    await playground.generate("dunes under a low red sun");
    await playground.finished();
    expect(await overflowOf(page)).toBe(0);
    const [red = 0, green = 0, blue = 0] = await pixelOfBackground(page);
    expect((red + green + blue) / 3 > 127).toBe(colorScheme === "light");
  });
});

describe("with text twice as large", () => {
  it.each([360, 1440])("the page has all of itself within a width of %i pixels", async (width) => {
    const playground = await open({ viewport: { width, height: 740 }, query: "?seed=1" });
    const { page } = playground;
    await page.evaluate(() => document.documentElement.style.setProperty("font-size", "200%"));
    await playground.generate("a lake");
    await playground.finished();
    await page.locator("#strip li").waitFor({ state: "attached" });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(overflow).toBeLessThanOrEqual(0);
  });

  it("nothing is cut off or lies over its neighbours within a width of 360 pixels", async () => {
    const { page } = await open({ viewport: { width: 360, height: 740 } });
    await page.evaluate(() => document.documentElement.style.setProperty("font-size", "200%"));
    for (const selector of ["#go", "#width", "#height"]) {
      const hidden = await page.locator(selector).evaluate((element) => element.scrollWidth - element.clientWidth);
      expect(hidden, selector).toBeLessThanOrEqual(0);
    }
    const [masthead, invitation, prompt] = await Promise.all(
      [".masthead", ".invitation", ".prompt-field"].map((selector) => page.locator(selector).boundingBox()),
    );
    expect(invitation!.y).toBeGreaterThanOrEqual(masthead!.y + masthead!.height);
    expect(prompt!.y).toBeGreaterThanOrEqual(invitation!.y + invitation!.height);
  });

  it("a model's long name takes another line, and hides nothing", async () => {
    const name = "a-checkpoint-with-a-long-name-and-no-place-to-break-it_v10_pruned.safetensors";
    const { page } = await open({ viewport: { width: 360, height: 740 } });
    const health = (await (await fetch(`${server().url}/health`)).json()) as { model: object };
    await page.route("**/health", (route) =>
      route.fulfill({ json: { ...health, model: { ...health.model, id: name } } }),
    );
    await page.reload();
    await page.getByText(name).first().waitFor();
    await page.evaluate(() => document.documentElement.style.setProperty("font-size", "200%"));
    expect(await overflowOf(page)).toBe(0);
    const service = page.locator("#service-text");
    expect(await service.evaluate((element) => element.scrollWidth - element.clientWidth)).toBe(0);
    await page.unrouteAll({ behavior: "ignoreErrors" });
  });
});

describe("with the system's own colours", () => {
  it("buttons, sliders and progress can be told from what is around them", async () => {
    const playground = await open({ forcedColors: "active", query: "?seed=1" });
    const { page } = playground;
    const bordered = (selector: string): Promise<boolean> =>
      page.locator(selector).evaluate((element) => Number.parseFloat(getComputedStyle(element).borderBottomWidth) > 0);
    expect(await bordered("#go")).toBe(true);
    const slider = page.locator("input[data-for=num_inference_steps]");
    expect(await slider.evaluate((element) => getComputedStyle(element).backgroundImage)).toContain("gradient");
    expect(await bordered("#progress-fill")).toBe(true);
  });
});

describe("without a mouse", () => {
  it("a picture is made and stopped without leaving the prompt", async () => {
    const playground = await open({ query: "?num_inference_steps=50" });
    const { page } = playground;
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.keyboard.type("a lake");
    await page.keyboard.press("Enter");
    await playground.pictures.first().waitFor();
    await page.keyboard.press("Escape");
    await playground.statusIs(/^Stopped/);
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("prompt");
  });
});

describe("without eyes", () => {
  it("the steps of a run are told, but not every one", async () => {
    const playground = await open();
    const words = await playground.textsOf("#live");
    await playground.generate("a lake");
    await playground.finished();
    // Observers of the page hear of its last change a moment after it.
    const told = await eventually(async () => {
      const heard = await words();
      expect(heard.at(-1)).toMatch(/^Finished in/);
      return heard;
    });
    expect(told.filter((text) => text.startsWith("Step")).length).toBeLessThanOrEqual(4);
    expect(await playground.captions()).toEqual(["a lake (finished)"]);
  });
});

describe("with less motion", () => {
  it("nothing moves by itself", async () => {
    const playground = await open({ reducedMotion: "reduce" });
    await playground.page.evaluate(() => {
      const moved = new Set<string>();
      Reflect.set(globalThis, "moved", moved);
      const look = (): void => {
        for (const { effect } of document.getAnimations())
          moved.add(String((effect as KeyframeEffect).target?.className));
        requestAnimationFrame(look);
      };
      look();
    });
    await playground.generate("a lake");
    await playground.finished();
    expect(await playground.page.evaluate(() => [...(Reflect.get(globalThis, "moved") as Set<string>)])).toEqual([]);
  });
});

describe("the page itself", () => {
  it("allows nothing but its own files and pictures", async () => {
    const response = await fetch(server().url);
    const policy = response.headers.get("content-security-policy");
    for (const rule of [
      "default-src 'none'",
      "script-src 'self'",
      "style-src 'self'",
      "img-src 'self' data: blob:",
      "connect-src 'self'",
    ])
      expect(policy?.split(/; ?/)).toContain(rule);
    expect(await response.text()).not.toMatch(/<script(?![^>]*src=)|<style|style=|\son\w+=/);
  });

  it("weighs no more than 60 kB compressed", () => {
    const folder = fileURLToPath(new URL("../../dist/playground", import.meta.url));
    const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    const bytes = files.map((file) => gzipSync(readFileSync(join(file.parentPath, file.name))).length);
    expect(bytes.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(60_000);
  });

  it("is asked for again each time, its files only once", async () => {
    const page = await fetch(server().url);
    const [, script] = /src="\.\/(assets\/[^"]+)"/.exec(await page.text()) ?? [];
    expect(page.headers.get("cache-control")).toContain("max-age=0");
    expect((await fetch(`${server().url}/${script}`)).headers.get("cache-control")).toContain("immutable");
    expect((await fetch(`${server().url}/assets/..%2f..%2f..%2fpackage.json`)).status).toBeGreaterThanOrEqual(400);
  });
});

/** What the page's background colour is once the browser has worked it out. */
async function pixelOfBackground(page: Page): Promise<number[]> {
  return page.evaluate(() => {
    const context = document.createElement("canvas").getContext("2d")!;
    context.fillStyle = getComputedStyle(document.documentElement).backgroundColor;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
  });
}
