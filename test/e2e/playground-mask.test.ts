/** The page at `GET /`: painting on a picture, and masks. */
import type { Page } from "playwright-core";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { twoColours } from "../support/images.ts";
import { pixelOf, stroke } from "../support/pad.ts";
import { type Playground, type PlaygroundOptions, usePages, usePaintingServer } from "../support/playground.ts";

const server = usePaintingServer();
const openPage = usePages();

const BLUE = [0, 0, 255];
const SQUARE = "?seed=1&output_format=png&width=256&height=256";

/** A page that starts from a blue picture. */
async function withPicture(options: Partial<PlaygroundOptions> = {}): Promise<Playground> {
  const playground = await openPage({ server: server(), query: SQUARE, ...options });
  const { page } = playground;
  await page.locator("#service[data-status=ready]").waitFor();
  const buffer = await twoColours(256, 256, "#0000ff", "#0000ff");
  await page.locator("#start-file").setInputFiles({ name: "blue.png", mimeType: "image/png", buffer });
  await page.locator("#start-set").waitFor();
  return playground;
}

const press = (page: Page, name: string): Promise<void> =>
  page.locator("#pad").getByRole("button", { name, exact: true }).click();

/** Whether the canvas shows something else than the picture there. */
async function isMarked(page: Page, x: number, y: number): Promise<boolean> {
  return (await pixelOf(page, [x, y])).join() !== BLUE.join();
}

const maskOf = (page: Page): string | null => new URL(page.url()).searchParams.get("mask");

/** RGB of the whole result. */
async function result(playground: Playground): Promise<Buffer> {
  await playground.generate("a lake");
  await playground.finished();
  return sharp((await playground.download()).bytes)
    .removeAlpha()
    .raw()
    .toBuffer();
}

describe("a mask", () => {
  it("changes what is marked, and leaves everything else to the bit", async () => {
    const playground = await withPicture();
    const { page } = playground;
    await press(page, "Mask");
    await stroke(page, [
      [0.25, 0.25],
      [0.75, 0.25],
    ]);
    expect(await isMarked(page, 0.5, 0.25)).toBe(true);
    const pixels = await result(playground);
    const marked: number[] = [];
    const changed: number[] = [];
    const canvas = await page.locator("#pad-canvas").evaluate((element) => {
      const { width, height } = element as HTMLCanvasElement;
      return [...(element as HTMLCanvasElement).getContext("2d")!.getImageData(0, 0, width, height).data];
    });
    for (let at = 0; at < 256 * 256; at += 1) {
      if (canvas.slice(at * 4, at * 4 + 3).join() !== BLUE.join()) marked.push(at);
      if (pixels.subarray(at * 3, at * 3 + 3).join() !== BLUE.join()) changed.push(at);
    }
    expect(changed.length).toBeGreaterThan(1_000);
    const shown = new Set(marked);
    expect(changed.filter((at) => !shown.has(at))).toEqual([]);
  });

  it("is taken back stroke by stroke, brought back, erased and cleared", async () => {
    const { page } = await withPicture();
    const marks = async (): Promise<boolean[]> => [await isMarked(page, 0.2, 0.2), await isMarked(page, 0.8, 0.8)];
    const show = (...expected: boolean[]): Promise<void> =>
      eventually(async () => expect(await marks()).toEqual(expected));
    await press(page, "Mask");
    await stroke(page, [
      [0.2, 0.2],
      [0.3, 0.2],
    ]);
    await stroke(page, [
      [0.8, 0.8],
      [0.7, 0.8],
    ]);
    await show(true, true);
    await press(page, "Undo");
    await show(true, false);
    await press(page, "Redo");
    await show(true, true);
    await press(page, "Erase");
    await stroke(page, [
      [0.1, 0.2],
      [0.4, 0.2],
    ]);
    await show(false, true);
    await press(page, "Clear");
    await show(false, false);
    await eventually(() => expect(maskOf(page)).toBeNull());
    await press(page, "Undo");
    await show(false, true);
    await eventually(() => expect(maskOf(page)).not.toBeNull());
  });

  it("is painted with the keyboard alone", async () => {
    const { page } = await withPicture();
    await page.getByRole("button", { name: "Mask", exact: true }).focus();
    await page.keyboard.press("Enter");
    await page.locator("#pad-view").focus();
    const words = page.locator("#live");
    // From the middle to the left.
    await page.keyboard.press(" ");
    expect(await words.textContent()).toBe("Brush down");
    await page.keyboard.press("Shift+ArrowLeft");
    await page.keyboard.press("Shift+ArrowLeft");
    await page.keyboard.press("Escape");
    expect(await words.textContent()).toBe("Brush up");
    await page.keyboard.press("Shift+ArrowUp");
    await eventually(async () => {
      expect(await isMarked(page, 0.5, 0.5)).toBe(true);
      expect(await isMarked(page, 0.26, 0.5)).toBe(true);
      expect(await isMarked(page, 0.26, 0.35)).toBe(false);
      expect(await isMarked(page, 0.7, 0.5)).toBe(false);
    });
    await page.keyboard.press("Control+z");
    await eventually(async () => expect(await isMarked(page, 0.5, 0.5)).toBe(false));
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("pad-view");
  });

  it.each(["touch", "pen"] as const)(
    "is painted with a %s, which scrolls the page while no brush is chosen",
    async (pointerType) => {
      const { page } = await withPicture({ hasTouch: true, viewport: { width: 360, height: 740 } });
      const touchAction = (): Promise<string> =>
        page.locator("#pad-view").evaluate((element) => getComputedStyle(element).touchAction);
      expect(await touchAction()).toBe("auto");
      await page.getByRole("button", { name: "Mask", exact: true }).tap();
      expect(await touchAction()).toBe("none");
      await page.locator("#pad-view").evaluate((element, kind) => {
        // Captures belong to pointers that the browser knows.
        element.setPointerCapture = () => undefined;
        const { left, top, width, height } = element.getBoundingClientRect();
        const event = (type: string, x: number, y: number, buttons: number): void => {
          const place = { clientX: left + x * width, clientY: top + y * height, pressure: 0.5, buttons };
          element.dispatchEvent(
            new PointerEvent(type, { pointerId: 7, pointerType: kind, isPrimary: true, bubbles: true, ...place }),
          );
        };
        event("pointerdown", 0.2, 0.5, 1);
        event("pointermove", 0.8, 0.5, 1);
        event("pointerup", 0.8, 0.5, 0);
      }, pointerType);
      await eventually(async () => expect(await isMarked(page, 0.5, 0.5)).toBe(true));
    },
  );

  it("can be painted over the whole window, and is there after a reload", async () => {
    const { page } = await withPicture();
    await press(page, "Larger");
    await page.getByRole("dialog", { name: "Paint on the picture" }).waitFor();
    await stroke(page, [
      [0.2, 0.5],
      [0.8, 0.5],
    ]);
    await page.getByRole("dialog").getByRole("button", { name: "Done" }).click();
    await eventually(() => expect(maskOf(page)).not.toBeNull());
    await page.reload();
    await page.locator("#start-set").waitFor();
    await eventually(async () => expect(await isMarked(page, 0.5, 0.5)).toBe(true));
    expect(await isMarked(page, 0.5, 0.2)).toBe(false);
  });

  it("makes the strength say what happens to the marked part", async () => {
    const { page } = await withPicture();
    await press(page, "Mask");
    await stroke(page, [
      [0.2, 0.5],
      [0.8, 0.5],
    ]);
    expect(await page.locator("#strength").inputValue()).toBe("0.95");
    expect(await page.locator("#strength-says").textContent()).toBe(
      "The marked part is drawn anew. 11 of 12 steps run.",
    );
  });
});

describe("a stroke of colour", () => {
  it("becomes part of the picture, and a run that is started at once has it", async () => {
    const playground = await withPicture();
    const { page } = playground;
    await press(page, "Draw");
    await page.getByRole("radio", { name: "red" }).click();
    await page.locator("#strength").fill("0.1");
    await stroke(page, [
      [0.2, 0.5],
      [0.8, 0.5],
    ]);
    const pixels = await result(playground);
    const [red = 0, , blue = 0] = pixels.subarray((128 * 256 + 128) * 3);
    expect(red - blue).toBeGreaterThan(80);
    await page.reload();
    await page.locator("#start-set").waitFor();
    await eventually(async () => expect(await pixelOf(page, [0.5, 0.5])).toEqual([179, 50, 46]));
  });
});
