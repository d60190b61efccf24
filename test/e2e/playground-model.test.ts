/** The page at `GET /` with a real model: the whole way from a prompt to a kept picture. */
import sharp from "sharp";
import { afterAll, beforeAll, expect, it } from "vitest";
import { chromiumPath } from "../support/browser.ts";
import { eventually } from "../support/eventually.ts";
import { stroke } from "../support/pad.ts";
import { usePages } from "../support/playground.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

const open = usePages();
let server: TestServer;

beforeAll(async () => {
  if (chromiumPath !== undefined)
    server = await startTestServer({ env: { LATENTCAST_MODEL: "demo", LATENTCAST_MAX_BATCH: "1" } });
});
afterAll(() => server?.close());

it("opens while the model loads, makes a picture, stops another, and brings the first back from its link", async () => {
  const playground = await open({ server, query: "?num_inference_steps=8&preview.every=1" });
  const { page } = playground;
  await page.locator("#service[data-status=ready]").waitFor({ timeout: 100_000 });
  const { native_width: width, native_height: height } = server.jobs.snapshot().model!;
  await playground.generate("a red lighthouse at dusk");
  await playground.finished();
  expect(await playground.sizes()).toEqual([[width, height]]);

  const shown = new Set<string | null>();
  await playground.scrubber.focus();
  for (const key of ["Home", "ArrowRight", "ArrowRight", "End"]) {
    await page.keyboard.press(key);
    shown.add(await playground.scrubber.getAttribute("aria-valuetext"));
  }
  expect(shown.size).toBe(4);
  const link = new URL(page.url()).search;
  const { bytes } = await playground.download();

  await page.getByLabel("Steps", { exact: true }).fill("50");
  await playground.generate();
  await playground.statusIs(/^Step /);
  await page.getByRole("button", { name: "Stop" }).click();
  await playground.statusIs(/^Stopped/);
  await eventually(() => expect(server.jobs.snapshot().counters.cancelled).toBe(1));

  const visitor = await open({ server, query: link });
  await visitor.generate();
  await visitor.finished();
  expect((await visitor.download()).bytes).toEqual(bytes);
});

it("says what the demo model paints when the prompt names nothing it knows", async () => {
  const playground = await open({ server, query: "?num_inference_steps=4" });
  const { page } = playground;
  await page.locator("#service[data-status=ready]").waitFor({ timeout: 100_000 });
  await playground.generate("a red cat");
  await playground.finished();
  expect(await page.locator("#understood").textContent()).toBe("Understood: red");
  expect(await page.locator("#remark").textContent()).toMatch(/^This small model paints landscapes .*GPU/);
});

it("paints what is masked, and leaves the rest of the picture to the bit", async () => {
  const playground = await open({ server, query: "?num_inference_steps=8&output_format=png&seed=3" });
  const { page } = playground;
  await page.locator("#service[data-status=ready]").waitFor({ timeout: 100_000 });
  await playground.generate("a lake at sunset");
  await playground.finished();
  const before = await pixelsOf((await playground.download()).bytes);
  await page.getByRole("button", { name: "Start from this" }).click();
  await page.getByRole("button", { name: "Mask", exact: true }).click();
  await stroke(page, [
    [0.3, 0.6],
    [0.7, 0.6],
  ]);
  await playground.generate("a red boat on a lake at sunset");
  await playground.finished();
  const after = await pixelsOf((await playground.download()).bytes);
  const rows = (pixels: Buffer, from: number, to: number): Buffer =>
    pixels.subarray(Math.round(256 * from) * 256 * 3, Math.round(256 * to) * 256 * 3);
  // The brush is 9 % of the side wide.
  expect(rows(after, 0, 0.55)).toEqual(rows(before, 0, 0.55));
  expect(rows(after, 0.65, 1)).toEqual(rows(before, 0.65, 1));
  expect(rows(after, 0.57, 0.63)).not.toEqual(rows(before, 0.57, 0.63));
});

it("makes a sketch with the sun on the left a sunset with the sun on the left", async () => {
  const playground = await open({
    server,
    query: "?num_inference_steps=12&output_format=png&seed=7&width=256&height=256",
  });
  const { page } = playground;
  await page.locator("#service[data-status=ready]").waitFor({ timeout: 100_000 });
  await page.getByRole("button", { name: "Sketch one" }).click();
  await page.getByRole("radio", { name: "sky blue" }).click();
  await page.getByRole("button", { name: "Fill" }).click();
  await page.locator("#brush-size").fill("17");
  await page.getByRole("radio", { name: "sun yellow" }).click();
  await stroke(page, [
    [0.25, 0.3],
    [0.26, 0.3],
  ]);
  await playground.generate("a beautiful sunset over the sea");
  await playground.finished();
  const pixels = await pixelsOf((await playground.download()).bytes);
  const brightness = (x: number): number => {
    let sum = 0;
    for (let row = 66; row < 88; row += 1)
      for (let column = x - 11; column < x + 11; column += 1) {
        const at = (row * 256 + column) * 3;
        sum += pixels[at]! + pixels[at + 1]! + pixels[at + 2]!;
      }
    return sum / (22 * 22 * 3);
  };
  expect(brightness(64)).toBeGreaterThan(brightness(192) + 40);
});

function pixelsOf(bytes: Buffer): Promise<Buffer> {
  return sharp(bytes).removeAlpha().raw().toBuffer();
}
