/** The page at `GET /`: what can be done with pictures once they are there. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { type Playground, type PlaygroundOptions, usePages, usePaintingServer } from "../support/playground.ts";
import { testPython } from "../support/server.ts";

const server = usePaintingServer();
const openPage = usePages();

const open = (options: Partial<PlaygroundOptions> = {}): Promise<Playground> =>
  openPage({ server: server(), ...options });

async function finishedRun(query: string): Promise<Playground> {
  const playground = await open({ query });
  await playground.generate("a lake");
  await playground.finished();
  return playground;
}

describe("the scrubber", () => {
  it("goes from the first preview to the finished picture by keyboard, and says where it is", async () => {
    const { page, scrubber, pictures } = await finishedRun("?seed=1");
    await scrubber.focus();
    await page.keyboard.press("Home");
    // A page that does not keep up is spared a preview; which one is the first it has seen does not matter here.
    const first = await scrubber.getAttribute("aria-valuetext");
    expect(first).toMatch(/^step \d+ of 12$/);
    await pictures.and(page.getByAltText(`a lake (${first})`)).waitFor();
    await page.keyboard.press("End");
    await pictures.and(page.getByAltText("a lake (finished)")).waitFor();
    expect(await scrubber.getAttribute("aria-valuetext")).toBe("finished");
  });

  it("lets the picture form again", async () => {
    const { page, scrubber } = await finishedRun("?seed=1");
    await page.getByRole("button", { name: "Replay" }).click();
    await page.getByAltText(/^a lake \(step \d+ of 12\)$/).waitFor();
    await page.getByAltText("a lake (finished)").waitFor();
    expect(await scrubber.inputValue()).toBe(await scrubber.getAttribute("max"));
  });
});

describe("several pictures", () => {
  it("form at the same time, each from its own seed", async () => {
    const playground = await open({ query: "?seed=5&runs=4" });
    const statuses = await playground.textsOf("#status");
    await playground.generate("a lake");
    await playground.finished();
    expect(await statuses()).toContain("4 forming");
    expect(await playground.page.locator(".plate-label").allTextContents()).toEqual(
      [5, 6, 7, 8].map((seed) => `Seed ${seed}`),
    );
    expect(await playground.pictures.count()).toBe(4);
  });

  it("of one request are made from consecutive seeds too", async () => {
    const playground = await finishedRun("?seed=4294967295&num_images=2");
    expect(await playground.page.locator(".plate-label").allTextContents()).toEqual(["Seed 4294967295", "Seed 0"]);
  });

  it("can be looked at one by one, and are then what buttons act on", async () => {
    const playground = await finishedRun("?seed=5&num_images=2");
    const { page } = playground;
    await page.getByRole("button", { name: "Seed 6", exact: true }).click();
    expect(await playground.pictures.count()).toBe(1);
    const { name } = await playground.download();
    expect(name).toBe("a-lake-6.jpg");
    await page.getByRole("button", { name: "All pictures" }).click();
    expect(await playground.pictures.count()).toBe(2);
  });

  it("compare two seeds side by side", async () => {
    const playground = await finishedRun("?seed=5");
    const before = await playground.pictures.getAttribute("src");
    await playground.page.getByRole("button", { name: "Compare a seed" }).click();
    await playground.finished();
    await eventually(async () => expect(await playground.pictures.count()).toBe(2));
    expect(await playground.pictures.first().getAttribute("src")).toBe(before);
    await playground.scrubber.focus();
    await playground.page.keyboard.press("Home");
    await eventually(async () =>
      expect((await playground.captions()).join()).toMatch(/^a lake \(step .*,a lake \(step /),
    );
  });
});

describe("earlier pictures", () => {
  it("are there in the next tab, with how they formed, until they are cleared", async () => {
    const first = await finishedRun("?seed=5");
    await first.page.locator("#strip li").waitFor();
    const second = await open({ beside: first });
    await second.page.getByRole("button", { name: "Open a lake, seed 5" }).click();
    await second.finished();
    expect((await second.download()).bytes).toEqual((await first.download()).bytes);
    expect(await second.scrubber.getAttribute("max")).toBe(await first.scrubber.getAttribute("max"));
    expect(new URL(second.page.url()).searchParams.get("seed")).toBe("5");
    await second.page.getByRole("button", { name: "Clear" }).click();
    await second.page.locator("#strip li").waitFor({ state: "detached" });
    await second.page.reload();
    expect(await second.page.locator("#strip li").count()).toBe(0);
  });

  it("can be put beside the one that is there", async () => {
    const playground = await finishedRun("?seed=5");
    await playground.page.getByRole("button", { name: "Compare with a lake, seed 5" }).click();
    expect(await playground.page.locator("#plates .plate").count()).toBe(2);
  });
});

describe("what is taken along", () => {
  it("is a file with the prompt written inside", async () => {
    const { name, bytes } = await (await finishedRun("?seed=5&output_format=png")).download();
    expect(name).toBe("a-lake-5.png");
    const { exif, format } = await sharp(bytes).metadata();
    expect(format).toBe("png");
    expect(exif?.toString("latin1")).toContain('"prompt":"a lake"');
  });

  it("is a link with everything that makes the picture", async () => {
    const playground = await finishedRun("?seed=5");
    const link = new URL(await copied(playground, "Copy link"));
    expect(Object.fromEntries(link.searchParams)).toMatchObject({
      prompt: "a lake",
      seed: "5",
      num_inference_steps: "12",
      width: "256",
    });
  });

  it.each(["Copy as Python", "Copy for OpenAI's client"])(
    "is a program that makes the same picture: %s",
    async (button) => {
      const playground = await open({ query: "?seed=5" });
      await playground.generate(`it's "a" lake \\ in 北京 🌊`);
      await playground.finished();
      const folder = await mkdtemp(join(tmpdir(), "latentcast-snippet-"));
      try {
        await promisify(execFile)(testPython(), ["-c", await copied(playground, button)], { cwd: folder });
        expect(await readFile(join(folder, "picture-0.jpg"))).toEqual((await playground.download()).bytes);
      } finally {
        await rm(folder, { recursive: true });
      }
    },
  );

  it("is a curl command whose body a shell leaves as it is", async () => {
    const playground = await open({ query: "?seed=5" });
    await playground.generate("it's a $lake `now`");
    await playground.finished();
    const [, body] = /-d ('.*') \\$/m.exec(await copied(playground, "Copy as curl")) ?? [];
    const { stdout } = await promisify(execFile)("sh", ["-c", `printf %s ${body}`]);
    expect(JSON.parse(stdout)).toMatchObject({ prompt: "it's a $lake `now`", seed: 5 });
  });
});

describe("a result that was kept as JSON", () => {
  const image = { url: "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=", content_type: "image/gif" };

  it.each([
    ["an object with an address and a type", image, 1],
    ["a result with one picture", { image, seed: 1 }, 1],
    ["a result with several", { images: [image, image], seed: 1 }, 2],
  ])("is shown as pictures: %s", async (_name, result, count) => {
    const { page } = await open();
    await page.getByRole("button", { name: "Open a result" }).click();
    await page.getByLabel("JSON that a server answered").fill(JSON.stringify(result));
    expect(await page.locator("#json-view img").count()).toBe(count);
  });

  it("is shown as JSON when it names no pictures", async () => {
    const { page } = await open();
    await page.getByRole("button", { name: "Open a result" }).click();
    await page
      .getByLabel("JSON that a server answered")
      .fill('{"text":"a lake","url":"javascript:alert(1)","content_type":"text/html"}');
    expect(await page.locator("#json-view img").count()).toBe(0);
    expect(await page.locator("#json-view pre").textContent()).toContain('"text": "a lake"');
  });
});

async function copied({ page }: Playground, button: string): Promise<string> {
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.getByRole("button", { name: button, exact: true }).click();
  return page.evaluate(() => navigator.clipboard.readText());
}
