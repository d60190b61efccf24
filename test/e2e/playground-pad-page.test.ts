/** The canvas of the page at `GET /` for every eye and hand. */
import { describe, expect, it } from "vitest";
import { overflowOf, seriousFindings } from "../support/axe.ts";
import { stroke } from "../support/pad.ts";
import { type Playground, type PlaygroundOptions, usePages, usePaintingServer } from "../support/playground.ts";

const server = usePaintingServer();
const openPage = usePages();

/** A page with a sketch that is being painted. */
async function sketching(options: Partial<PlaygroundOptions> = {}): Promise<Playground> {
  const playground = await openPage({ server: server(), ...options });
  await playground.page.locator("#service[data-status=ready]").waitFor();
  await playground.page.getByRole("button", { name: "Sketch one" }).click();
  await playground.page.getByRole("radio", { name: "sky blue" }).waitFor();
  return playground;
}

describe.each(["light", "dark"] as const)("the canvas on the %s page", (colorScheme) => {
  it("has nothing that axe finds serious: with colours, with a mask, and over the whole window", async () => {
    const { page } = await sketching({ colorScheme });
    expect(await seriousFindings(page)).toEqual([]);
    await page.getByRole("button", { name: "Mask", exact: true }).click();
    await stroke(page, [
      [0.2, 0.2],
      [0.8, 0.2],
    ]);
    expect(await seriousFindings(page)).toEqual([]);
    await page.getByRole("button", { name: "Larger" }).click();
    expect(await seriousFindings(page)).toEqual([]);
  });

  it.each([360, 768])(
    "has all of itself within a width of %i pixels, in the page and over the window",
    async (width) => {
      const { page } = await sketching({ colorScheme, viewport: { width, height: 740 } });
      expect(await overflowOf(page)).toBe(0);
      await page.getByRole("button", { name: "Larger" }).click();
      const dialog = page.getByRole("dialog", { name: "Paint on the picture" });
      expect(await dialog.evaluate(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)).toBe(0);
      for (const target of await dialog.locator("button:visible, #pad-view").all()) {
        const box = (await target.boundingBox())!;
        expect(box.y + box.height).toBeLessThanOrEqual(740);
        expect(box.height).toBeGreaterThanOrEqual(24);
      }
    },
  );
});

describe("the canvas", () => {
  it("has all of itself within 360 pixels with text twice as large", async () => {
    const { page } = await sketching({ viewport: { width: 360, height: 740 } });
    await page.evaluate(() => document.documentElement.style.setProperty("font-size", "200%"));
    expect(await overflowOf(page)).toBeLessThanOrEqual(0);
  });

  it("keeps its colours, and the mark of the chosen one, where the system's colours replace the page's", async () => {
    const { page } = await sketching({ forcedColors: "active" });
    const swatch = page.getByRole("radio", { name: "sky blue" });
    await swatch.click();
    expect(await swatch.evaluate((radio) => getComputedStyle(radio).backgroundColor)).toBe("rgb(143, 185, 224)");
    expect(await swatch.evaluate((radio) => getComputedStyle(radio).outlineStyle)).toBe("solid");
  });

  it("is left by the Tab key, also while the brush is down", async () => {
    const { page } = await sketching();
    const pad = page.locator("#pad-view");
    await pad.focus();
    await page.keyboard.press(" ");
    await page.keyboard.press("Tab");
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("tool-paint");
    await pad.focus();
    expect(await page.locator("#pad-cursor").getAttribute("data-down")).toBeNull();
  });

  it("leaves Escape to the run while no brush is down", async () => {
    const playground = await sketching({ query: "?num_inference_steps=50" });
    const { page } = playground;
    await playground.generate("a lake");
    await playground.pictures.first().waitFor();
    await page.locator("#pad-view").focus();
    await page.keyboard.press("Escape");
    await playground.statusIs(/^Stopped/);
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("pad-view");
  });
});
