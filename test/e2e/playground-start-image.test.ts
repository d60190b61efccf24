/** The page at `GET /`: a picture as the beginning, how it comes in, and who keeps it. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Page } from "playwright-core";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { twoColours } from "../support/images.ts";
import { bring, pixelOf, type FileOfPage } from "../support/pad.ts";
import { type Playground, type PlaygroundOptions, usePages, usePaintingServer } from "../support/playground.ts";
import { testPython } from "../support/server.ts";

const server = usePaintingServer();
const openPage = usePages();

const BLUE = [0, 0, 255];
const RED = [255, 0, 0];

async function open(options: Partial<PlaygroundOptions> = {}): Promise<Playground> {
  const playground = await openPage({ server: server(), ...options });
  await playground.page.locator("#service[data-status=ready]").waitFor();
  return playground;
}

/** Blue on the left, red on the right. */
async function file(width = 300, height = 200): Promise<FileOfPage> {
  const buffer = await twoColours(width, height, "#0000ff", "#ff0000");
  return { name: "halves.png", mimeType: "image/png", buffer };
}

async function choose({ page }: Playground, chosen: FileOfPage): Promise<void> {
  await page.locator("#start-file").setInputFiles(chosen);
  await page.locator("#start-set").waitFor();
}

const sizeOf = (page: Page): Promise<string[]> =>
  Promise.all(["width", "height"].map((name) => page.locator(`#${name}`).inputValue()));

/** The canvas shows both halves. */
async function showsHalves(page: Page): Promise<void> {
  await page.locator("#start-set").waitFor();
  await eventually(async () => {
    expect(await pixelOf(page, [0.2, 0.5])).toEqual(BLUE);
    expect(await pixelOf(page, [0.8, 0.5])).toEqual(RED);
  });
}

describe("a picture file", () => {
  it.each(["drop", "paste"] as const)("that comes by %s is what the next picture starts from", async (way) => {
    const playground = await open({ query: "?seed=1&output_format=png" });
    const { page } = playground;
    await bring(page, way, await file());
    await showsHalves(page);
    // The shape of the picture, in the model's sizes.
    expect(await sizeOf(page)).toEqual(["320", "208"]);
    await page.locator("#strength").fill("0.1");
    await playground.generate("a lake");
    await playground.finished();
    const { bytes } = await playground.download();
    const { data, info } = await sharp(bytes).removeAlpha().raw().toBuffer({ resolveWithObject: true });
    expect([info.width, info.height]).toEqual([320, 208]);
    // Nine tenths of it are left.
    const [left, right] = [data.subarray(0, 3), data.subarray((320 - 1) * 3, 320 * 3)];
    expect(left[2]! - left[0]!).toBeGreaterThan(200);
    expect(right[0]! - right[2]!).toBeGreaterThan(200);
  });

  it("is cut to the size that is asked for, not stretched", async () => {
    const playground = await open();
    const { page } = playground;
    // Green bars at the outer quarters: a square from the middle has neither.
    const middle = await twoColours(200, 200, "#0000ff", "#ff0000");
    const buffer = await sharp({ create: { width: 400, height: 200, channels: 3, background: "#00ff00" } })
      .composite([{ input: middle, left: 100, top: 0 }])
      .png()
      .toBuffer();
    await choose(playground, { name: "bars.png", mimeType: "image/png", buffer });
    await eventually(async () => expect(await pixelOf(page, [0.05, 0.5])).toEqual([0, 255, 0]));
    await page.getByRole("button", { name: /^1:1,/ }).click();
    await eventually(async () => {
      expect(await pixelOf(page, [0.05, 0.5])).toEqual(BLUE);
      expect(await pixelOf(page, [0.95, 0.5])).toEqual(RED);
    });
  });

  it("that the browser cannot open is refused by its name, and what was there stays", async () => {
    const playground = await open();
    const { page } = playground;
    await choose(playground, await file());
    await bring(page, "drop", { name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("a lake") });
    await page.getByRole("alert").waitFor();
    expect(await page.getByRole("alert").textContent()).toContain("notes.txt is not a picture");
    await showsHalves(page);
  });

  it("can be taken away, and the next picture is made from the text alone", async () => {
    const playground = await open({ query: "?seed=1" });
    const { page } = playground;
    await choose(playground, await file());
    await page.getByRole("button", { name: "Remove" }).click();
    await page.getByRole("button", { name: "Choose one" }).waitFor();
    await eventually(() => expect(new URL(page.url()).searchParams.has("image")).toBe(false));
    await playground.generate("a lake");
    await playground.finished();
    expect(await playground.page.locator("#remark").textContent()).toBe("");
  });
});

describe("the strength", () => {
  it("says what it does, and how many steps run", async () => {
    const playground = await open({ query: "?num_inference_steps=10" });
    const { page } = playground;
    await choose(playground, await file());
    const says = page.locator("#strength-says");
    const slider = page.getByRole("slider", { name: "Strength" });
    await slider.fill("0.2");
    expect(await says.textContent()).toBe("Stays close to your picture. 2 of 10 steps run.");
    await slider.fill("1");
    expect(await says.textContent()).toBe("Hardly anything of your picture is left. 10 of 10 steps run.");
    await slider.fill("0.05");
    expect(await says.textContent()).toBe("No step would run. The least is 0.1.");
  });
});

describe("a result", () => {
  it("becomes the beginning of the next picture, from the stage and from the full view", async () => {
    const playground = await open({ query: "?seed=1&output_format=png" });
    const { page } = playground;
    await playground.generate("a lake");
    await playground.finished();
    const { bytes } = await playground.download();
    await page.getByRole("button", { name: "Start from this" }).click();
    await page.locator("#start-set").waitFor();
    const image = new URL(page.url()).searchParams.get("image");
    expect(await saved(playground)).toEqual(await pixels(bytes));
    await page.getByRole("button", { name: "Remove" }).click();
    await page.getByRole("button", { name: "Full view" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Start from this" }).click();
    await page.locator("#start-set").waitFor();
    await eventually(() => expect(new URL(page.url()).searchParams.get("image")).toBe(image));
  });
});

describe("a link", () => {
  it("brings the picture back after a reload, and with it the same result", async () => {
    const playground = await open({ query: "?seed=1" });
    const { page } = playground;
    await choose(playground, await file());
    await playground.generate("a lake");
    await playground.finished();
    const { bytes } = await playground.download();
    // The address alone, without the picture that was made.
    await page.getByRole("button", { name: "Clear", exact: true }).last().click();
    await page.reload();
    await showsHalves(page);
    await playground.generate();
    await playground.finished();
    expect((await playground.download()).bytes).toEqual(bytes);
  });

  it("carries no picture: elsewhere it says what is missing, and the rest is there", async () => {
    const playground = await open({ query: "?seed=1" });
    await choose(playground, await file(600, 400));
    await playground.page.locator("#strength").fill("0.4");
    await playground.page.locator("#prompt").fill("a lake");
    await eventually(() => expect(new URL(playground.page.url()).searchParams.get("strength")).toBe("0.4"));
    const query = new URL(playground.page.url()).search;
    expect(query.length).toBeLessThan(300);

    const stranger = await open({ query });
    const { page } = stranger;
    expect(await page.getByRole("alert").textContent()).toContain("only the browser has that made it");
    expect(await page.locator("#prompt").inputValue()).toBe("a lake");
    await choose(stranger, await file(600, 400));
    expect(await page.locator("#strength").inputValue()).toBe("0.4");
  });

  it("names the picture of an earlier result too, until everything is cleared", async () => {
    const playground = await open({ query: "?seed=1" });
    const { page } = playground;
    await choose(playground, await file());
    await playground.generate("a lake");
    await playground.finished();
    await page.locator("#strip li").waitFor();
    await page.getByRole("button", { name: "Remove" }).click();
    await page.getByRole("button", { name: /^Open a lake, seed 1/ }).click();
    await showsHalves(page);
    await page.getByRole("button", { name: "Remove" }).click();
    await page.getByRole("button", { name: "Clear", exact: true }).last().click();
    await eventually(async () => expect(await keptInputs(page)).toBe(0));
  });
});

describe("a program for the same picture", () => {
  it("reads the files that Save writes", async () => {
    const playground = await open({ query: "?seed=1" });
    const { page } = playground;
    await choose(playground, await file());
    await playground.generate("a lake");
    await playground.finished();
    const folder = await mkdtemp(join(tmpdir(), "latentcast-snippet-"));
    try {
      const { name, bytes } = await playground.download(/^Save$/);
      await writeFile(join(folder, name), bytes);
      await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
      const picture = (await playground.download(/^Download$/)).bytes;
      for (const button of ["Copy as Python", "Copy for OpenAI's client"]) {
        await page.getByRole("button", { name: button }).click();
        const program = await page.evaluate(() => navigator.clipboard.readText());
        await promisify(execFile)(testPython(), ["-c", program], { cwd: folder });
        expect(await readFile(join(folder, "picture-0.jpg"))).toEqual(picture);
        await rm(join(folder, "picture-0.jpg"));
      }
      await page.getByRole("button", { name: "Copy as curl" }).click();
      const curl = await page.evaluate(() => navigator.clipboard.readText());
      const body = curl.slice(0, curl.indexOf("} |") + 1);
      const { stdout } = await promisify(execFile)("sh", ["-c", body], { cwd: folder, maxBuffer: 2 ** 24 });
      const { image_url: url, seed } = JSON.parse(stdout) as { image_url: string; seed: number };
      expect(seed).toBe(1);
      expect(Buffer.from(url.split(",")[1]!, "base64")).toEqual(bytes);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

/** Pixels of the file that "Save" writes. */
async function saved(playground: Playground): Promise<Buffer> {
  return pixels((await playground.download(/^Save$/)).bytes);
}

function pixels(bytes: Buffer): Promise<Buffer> {
  return sharp(bytes).removeAlpha().raw().toBuffer();
}

/** Images in the browser's store. */
function keptInputs(page: Page): Promise<number> {
  return page.evaluate(
    () =>
      new Promise<number>((resolve, reject) => {
        const request = indexedDB.open("latentcast-inputs");
        request.addEventListener("error", () => reject(new Error("no store")));
        request.addEventListener("success", () => {
          const count = request.result.transaction("inputs").objectStore("inputs").count();
          count.addEventListener("success", () => {
            request.result.close();
            resolve(count.result);
          });
        });
      }),
  );
}
