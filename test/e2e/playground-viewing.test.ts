/** The page at `GET /`: looking at pictures in full, over one another, and keeping or deleting them. */
import type { Locator } from "playwright-core";
import { describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { type Playground, type PlaygroundOptions, usePages, usePaintingServer } from "../support/playground.ts";

const server = usePaintingServer();
const openPage = usePages();

/** What a browser does that blocks cookies. */
const NO_STORAGE = `
  const refuse = () => { throw new DOMException("denied", "SecurityError"); };
  Object.defineProperty(globalThis, "indexedDB", { value: { open: refuse } });
  Object.defineProperty(globalThis, "sessionStorage", { get: refuse });`;

/** A page on which these prompts have been made, the last one is on the stage. */
async function withPictures(prompts: readonly string[], options: Partial<PlaygroundOptions> = {}): Promise<Playground> {
  const playground = await openPage({ server: server(), query: "?seed=5&width=128&height=128", ...options });
  for (const [index, prompt] of prompts.entries()) {
    await playground.generate(prompt);
    await playground.finished();
    await eventually(async () => expect(await playground.page.locator("#strip li").count()).toBe(index + 1));
  }
  return playground;
}

const viewer = ({ page }: Playground): Locator => page.getByRole("dialog");
const title = (playground: Playground): Locator => viewer(playground).locator("#viewer-title");

/** Opens the full view and waits until its picture is there. */
async function lookInFull(playground: Playground): Promise<void> {
  await playground.page.getByRole("button", { name: "Full view" }).click();
  await viewer(playground).locator("#viewer-image").waitFor();
}

describe("the full view", () => {
  it("goes through the earlier pictures with the arrow keys, and Escape leads back to where one was", async () => {
    const playground = await withPictures(["a lake", "dunes", "a forest"]);
    const { page } = playground;
    await page.getByRole("button", { name: "Full view" }).focus();
    await page.keyboard.press("Enter");
    await viewer(playground).waitFor();
    const seen = [await title(playground).textContent()];
    for (const key of ["ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft"]) {
      await page.keyboard.press(key);
      seen.push(await title(playground).textContent());
    }
    expect(seen).toEqual(["a forest", "dunes", "a lake", "a lake", "dunes"].map((prompt) => `${prompt} · seed 5`));
    await page.keyboard.press("Escape");
    expect(await page.locator("dialog[open]").count()).toBe(0);
    expect(await page.evaluate(() => document.activeElement?.id)).toBe("full");
  });

  it("opens with the picture that was pressed, and puts another one on the page", async () => {
    const playground = await withPictures(["a lake", "dunes"]);
    const { page } = playground;
    await page.getByRole("button", { name: "Look at it in full" }).click();
    expect(await title(playground).textContent()).toBe("dunes · seed 5");
    await page.keyboard.press("ArrowRight");
    await page.getByRole("button", { name: "Show on the page" }).click();
    expect(await page.getByLabel("Prompt", { exact: true }).inputValue()).toBe("a lake");
    expect(await playground.captions()).toEqual(["a lake (finished)"]);
  });

  it("shows whole pixels, moved by the arrow keys, and all of the picture again", async () => {
    const playground = await withPictures(["a lake"], { viewport: { width: 400, height: 400 } });
    const { page } = playground;
    await lookInFull(playground);
    const image = page.locator("#viewer-image");
    const fitted = (await image.boundingBox())!;
    expect(Math.max(fitted.width, fitted.height)).toBeLessThanOrEqual(400);
    await page.keyboard.press("z");
    const { width } = (await image.boundingBox())!;
    expect(width % 128).toBe(0);
    expect(width).toBeGreaterThan(400);
    expect(await image.evaluate((element) => getComputedStyle(element).imageRendering)).toBe("pixelated");
    const left = await page.locator("#viewer-view").evaluate(({ scrollLeft }) => scrollLeft);
    await page.keyboard.press("ArrowRight");
    await eventually(async () =>
      expect(await page.locator("#viewer-view").evaluate(({ scrollLeft }) => scrollLeft)).toBeGreaterThan(left),
    );
    await page.keyboard.press("z");
    expect((await image.boundingBox())!.width).toBe(fitted.width);
  });

  it("deletes a picture for good, unless that is undone", async () => {
    const playground = await withPictures(["a lake", "dunes"]);
    const { page } = playground;
    await lookInFull(playground);
    await page.keyboard.press("Delete");
    await page.locator("#viewer-title", { hasText: "a lake" }).waitFor();
    await page.getByRole("button", { name: "Undo" }).click();
    await page.locator("#viewer-title", { hasText: "dunes" }).waitFor();
    await page.getByRole("button", { name: "Delete" }).click();
    await page.locator("#viewer-title", { hasText: "a lake" }).waitFor();
    await page.getByRole("button", { name: "Close" }).click();
    await page.reload();
    await page.getByRole("button", { name: "Open a lake, seed 5" }).waitFor();
    expect(await page.locator("#strip li").count()).toBe(1);
  });

  it("has what is on the stage also where the browser keeps nothing", async () => {
    const playground = await openPage({
      server: server(),
      query: "?seed=5",
      script: NO_STORAGE,
    });
    await playground.generate("a lake");
    await playground.finished();
    await lookInFull(playground);
    expect(await title(playground).textContent()).toBe("a lake · seed 5");
    expect(await playground.page.getByRole("button", { name: "Delete" }).isDisabled()).toBe(true);
  });
});

describe("two pictures", () => {
  it("lie over one another with a divider that the keyboard and the mouse move", async () => {
    const playground = await withPictures(["a lake"]);
    const { page } = playground;
    await page.getByRole("button", { name: "Compare a seed" }).click();
    await playground.finished();
    await page.getByRole("button", { name: "Divider" }).click();
    const [first, second] = await page
      .locator("#plates .frame")
      .evaluateAll((frames) => frames.map((frame) => JSON.stringify(frame.getBoundingClientRect())));
    expect(second).toBe(first);
    const divider = page.getByRole("slider", { name: "Divider between the pictures" });
    const cut = (): Promise<string> =>
      page
        .locator(".divided .frame > img")
        .first()
        .evaluate((image) => getComputedStyle(image).clipPath);
    await divider.press("Home");
    expect(await cut()).toContain(" 0%");
    const box = (await divider.boundingBox())!;
    await page.mouse.move(box.x + 2, box.y + box.height / 2);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.75, box.y + box.height / 2, { steps: 4 });
    await page.mouse.up();
    expect(Number(await divider.inputValue())).toBeGreaterThan(70);
    expect(await cut()).toContain(`${await divider.inputValue()}%`);
    await page.getByRole("button", { name: "Side by side" }).click();
    expect(await divider.count()).toBe(0);
  });
});

describe("everything that is kept", () => {
  it("is saved as one archive", async () => {
    const playground = await withPictures(["a lake", "dunes"]);
    const { name, bytes } = await playground.download("Save all");
    expect(name).toBe("latentcast-2-pictures.zip");
    const listed = bytes.toString("latin1");
    for (const file of ["a-lake-5.jpg", "dunes-5.jpg"]) expect(listed).toContain(file);
    expect(bytes.subarray(0, 4).toString("latin1")).toBe("PK\u0003\u0004");
  });
});
