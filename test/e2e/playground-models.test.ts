/** The page at `GET /` with a server that has several models: one is chosen, and everything on the page follows it. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Locator } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { overflowOf, seriousFindings } from "../support/axe.ts";
import { chromiumPath } from "../support/browser.ts";
import { eventually } from "../support/eventually.ts";
import { modelOf } from "../support/images.ts";
import { type Playground, type PlaygroundOptions, usePages, usePaintingServer } from "../support/playground.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

const LANDSCAPES = "gallery/landscapes";
const ETCHINGS = "gallery/etchings";

const plain = usePaintingServer();
let server: TestServer;
const others: TestServer[] = [];
let folder: string;

async function startSeveral(): Promise<TestServer> {
  const started = await startTestServer({ worker: "paints_with_models", env: { LATENTCAST_LORA_DIR: folder } });
  await started.ready();
  return started;
}

beforeAll(async () => {
  if (chromiumPath === undefined) return;
  folder = await mkdtemp(join(tmpdir(), "latentcast-models-"));
  await writeFile(join(folder, "watercolour.safetensors"), "");
  server = await startSeveral();
});
afterAll(async () => {
  await server?.close();
  if (folder !== undefined) await rm(folder, { recursive: true });
});
afterEach(async () => {
  for (const other of others.splice(0)) await other.close();
});
// After the servers' hook, so that pages are closed before their server.
const openPage = usePages();

const choiceOf = ({ page }: Playground): Locator => page.getByLabel("Model", { exact: true });

/** A page that knows what its server has. */
async function open(options: Partial<PlaygroundOptions> = {}): Promise<Playground> {
  const playground = await openPage({ server, ...options });
  await playground.page.locator("#service[data-status=ready]").waitFor();
  return playground;
}

async function chooses(playground: Playground, model: string): Promise<void> {
  await eventually(async () => expect(await choiceOf(playground).inputValue()).toBe(model));
}

/** What the form says of size, steps and guidance. */
function settingsOf({ page }: Playground): Promise<string[]> {
  const ids = ["#width", "#height", "#num_inference_steps", "#guidance_scale"];
  return Promise.all(ids.map((id) => page.locator(id).inputValue()));
}

async function modelOfPicture(playground: Playground): Promise<string | undefined> {
  return modelOf((await playground.download()).bytes);
}

const queryOf = ({ page }: Playground): string => new URL(page.url()).search;

describe("the choice of a model", () => {
  it("offers those of the server, the first of them chosen, and not those that cannot be served", async () => {
    const playground = await open();
    expect(await choiceOf(playground).locator("option:enabled").allTextContents()).toEqual([LANDSCAPES, ETCHINGS]);
    expect(await choiceOf(playground).locator("option:disabled").allTextContents()).toEqual([
      "gallery/torn (cannot be loaded)",
    ]);
    await chooses(playground, LANDSCAPES);
    await playground.generate("a lake");
    await playground.finished();
    expect(await modelOfPicture(playground)).toBe(LANDSCAPES);
  });

  it("is not spoken of where the server has one", async () => {
    const playground = await openPage({ server: plain() });
    await playground.page.locator("#service[data-status=ready]").waitFor();
    expect(await choiceOf(playground).isVisible()).toBe(false);
    await playground.generate("a lake");
    await playground.finished();
    expect(new URLSearchParams(queryOf(playground)).has("model")).toBe(false);
  });

  it("brings the limits, defaults, sizes, words, examples and LoRAs of the model with it, and back", async () => {
    const playground = await open();
    const { page } = playground;
    const shown = async (): Promise<unknown> => ({
      settings: await settingsOf(playground),
      limits: [await page.locator("#width").getAttribute("min"), await page.locator("#width").getAttribute("max")],
      square: await page.getByRole("button", { name: /^1:1/ }).getAttribute("aria-label"),
      words: await page.getByText("What this model knows").isVisible(),
      understood: await page.locator("#understood").textContent(),
      examples: await page.locator("#examples button").allTextContents(),
      loras: await page.getByLabel("Add a LoRA").isVisible(),
      service: await page.locator("#service-text").textContent(),
    });
    await page.locator("#prompt").fill("a red lake");
    await page.getByLabel("Add a LoRA").waitFor();
    const landscapes = {
      settings: ["256", "256", "12", "5"],
      limits: ["64", "512"],
      square: "1:1, 256 by 256 pixels",
      words: true,
      understood: "Understood: red, lake",
      examples: ["a lake before sunrise, thin mist", "dunes under a low red sun"],
      loras: true,
      service: "landscapes",
    };
    expect(await shown()).toEqual(landscapes);
    await choiceOf(playground).selectOption(ETCHINGS);
    expect(await shown()).toEqual({
      settings: ["512", "512", "4", "0"],
      limits: ["256", "1024"],
      square: "1:1, 512 by 512 pixels",
      words: false,
      understood: "",
      examples: ["an old bridge, ink on paper"],
      loras: false,
      service: "etchings",
    });
    await choiceOf(playground).selectOption(LANDSCAPES);
    expect(await shown()).toEqual(landscapes);
  });

  it("leaves alone what the visitor has set, and a size its shape", async () => {
    const playground = await open();
    const { page } = playground;
    await page.locator("#num_inference_steps").fill("7");
    await page.getByRole("button", { name: /^2:3/ }).click();
    expect(await settingsOf(playground)).toEqual(["208", "320", "7", "5"]);
    await choiceOf(playground).selectOption(ETCHINGS);
    expect(await settingsOf(playground)).toEqual(["416", "640", "7", "0"]);
    expect(await page.getByRole("button", { name: /^2:3/ }).getAttribute("aria-pressed")).toBe("true");
  });

  it("is made with the keyboard alone", async () => {
    const playground = await open();
    const { page } = playground;
    await choiceOf(playground).focus();
    await page.keyboard.press("ArrowDown");
    await chooses(playground, ETCHINGS);
    await page.locator("#prompt").focus();
    await page.keyboard.type("an old bridge");
    await page.keyboard.press("Enter");
    await playground.finished();
    expect(await modelOfPicture(playground)).toBe(ETCHINGS);
  });

  it.each([
    ["made", "Generate"],
    ["drawn live", "Live"],
  ])("says that a model has to be loaded first, and no longer once a picture is %s", async (_name, button) => {
    const other = await startSeveral();
    others.push(other);
    const playground = await open({ server: other });
    const state = playground.page.locator("#model-state");
    expect(await state.textContent()).toBe("");
    await choiceOf(playground).selectOption(ETCHINGS);
    expect(await state.textContent()).toBe("Not loaded now: its first picture takes longer.");
    await playground.page.locator("#prompt").fill("an old bridge");
    await playground.page.locator("#form").getByText(button, { exact: true }).click();
    await eventually(async () => expect(await state.textContent()).toBe(""));
  });
});

describe("the chosen model", () => {
  /** Its picture is on the page. */
  async function etched(): Promise<Playground> {
    const playground = await open({ query: "?seed=1" });
    await choiceOf(playground).selectOption(ETCHINGS);
    await playground.generate("an old bridge");
    await playground.finished();
    await playground.page.locator("#strip li").first().waitFor();
    return playground;
  }

  it("draws the picture, comes back after a reload, and a link makes the same elsewhere", async () => {
    const playground = await etched();
    expect(await modelOfPicture(playground)).toBe(ETCHINGS);
    const { bytes } = await playground.download();
    await playground.page.reload();
    await playground.finished();
    await chooses(playground, ETCHINGS);
    expect((await playground.download()).bytes).toEqual(bytes);
    const visitor = await open({ query: queryOf(playground) });
    await chooses(visitor, ETCHINGS);
    await visitor.generate();
    await visitor.finished();
    expect((await visitor.download()).bytes).toEqual(bytes);
    expect(await visitor.page.locator("#model-note").textContent()).toBe("");
  });

  it("is in the programs that the page writes, and in the link", async () => {
    const playground = await etched();
    const { page } = playground;
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    /** What the first group of the pattern finds, once the clipboard has it. */
    const copied = async (name: string, pattern: RegExp): Promise<string> => {
      await page.getByRole("button", { name }).click();
      return eventually(async () => {
        const match = pattern.exec(await page.evaluate(() => navigator.clipboard.readText()));
        expect(match, name).not.toBeNull();
        return match![1]!;
      });
    };
    const link = await copied("Copy link", /^(http\S+)$/);
    expect(new URL(link).searchParams.get("model")).toBe(ETCHINGS);
    const curl = await copied("Copy as curl", /-d '(\{.*\})'/);
    expect(JSON.parse(curl)).toMatchObject({ model: ETCHINGS, guidance_scale: 0 });
    const javascript = await copied("Copy as JavaScript", /client\.stream\((\{.*\})\);/s);
    expect(JSON.parse(javascript)).toMatchObject({ model: ETCHINGS });
    const python = await copied("Copy as Python", /urllib[^]*json\.loads\((".*")\)/);
    expect(JSON.parse(JSON.parse(python) as string)).toMatchObject({ model: ETCHINGS });
    expect(await copied("Copy for OpenAI's client", /images\.generate\(\n {4}model="([^"]*)",\n/)).toBe(ETCHINGS);
  });

  it("comes back with an earlier picture, whatever the form said meanwhile", async () => {
    const playground = await etched();
    const { bytes } = await playground.download();
    await choiceOf(playground).selectOption(LANDSCAPES);
    await playground.generate("a lake");
    await playground.statusIs(/^Finished/);
    expect(await modelOfPicture(playground)).toBe(LANDSCAPES);
    await playground.page.getByRole("button", { name: "Open an old bridge, seed 1" }).click();
    await chooses(playground, ETCHINGS);
    expect(await settingsOf(playground)).toEqual(["512", "512", "4", "0"]);
    await playground.generate();
    await playground.statusIs(/^Finished/);
    expect((await playground.download()).bytes).toEqual(bytes);
  });

  it("draws live, and another one as soon as it is chosen", async () => {
    const playground = await open({ query: "?seed=1&prompt=a+lake" });
    const { page } = playground;
    await page.getByRole("switch", { name: "Live" }).click();
    await playground.pictures.first().waitFor();
    expect(await modelOfPicture(playground)).toBe(LANDSCAPES);
    await choiceOf(playground).selectOption(ETCHINGS);
    await eventually(async () => expect(await modelOfPicture(playground)).toBe(ETCHINGS));
  });
});

describe("a link to a model that the server lacks", () => {
  it.each([
    ["gallery/pony", /^This server does not have the model gallery\/pony\. gallery\/landscapes is used instead\.$/],
    ["gallery/torn", /^This server cannot load the model gallery\/torn: .* is a GGUF file\. .* is used instead\.$/],
  ])("says so and uses the first: %s", async (model, words) => {
    const playground = await open({ query: `?prompt=a+lake&seed=1&model=${encodeURIComponent(model)}` });
    await chooses(playground, LANDSCAPES);
    expect(await playground.page.locator("#model-note").textContent()).toMatch(words);
    await playground.generate();
    await playground.finished();
    expect(await modelOfPicture(playground)).toBe(LANDSCAPES);
    await choiceOf(playground).selectOption(ETCHINGS);
    expect(await playground.page.locator("#model-note").textContent()).toBe("");
  });

  it("says so where there is one model, which draws without another word", async () => {
    const playground = await openPage({ server: plain(), query: "?prompt=a+lake&seed=1&model=gallery%2Fpony" });
    const note = playground.page.locator("#model-note");
    await note
      .filter({ hasText: "This server does not have the model gallery/pony. fixture is used instead." })
      .waitFor();
    await playground.generate();
    await playground.finished();
    expect(await playground.page.locator("#remark").textContent()).toBe("");
  });
});

describe("the page with its choice of models", () => {
  const query = "?prompt=a+lake&seed=1&model=gallery%2Fpony";

  it.each(["light", "dark"] as const)("has nothing that axe finds serious: %s", async (colorScheme) => {
    const { page } = await open({ colorScheme, query });
    expect(await seriousFindings(page)).toEqual([]);
  });

  it.each([
    [360, "100%"],
    [768, "100%"],
    [360, "200%"],
    [1440, "200%"],
  ])("has all of itself within %i pixels with text of %s", async (width, size) => {
    const playground = await open({ viewport: { width, height: 740 }, query });
    const { page } = playground;
    await page.evaluate((fontSize) => document.documentElement.style.setProperty("font-size", fontSize), size);
    await choiceOf(playground).selectOption(ETCHINGS);
    expect(await overflowOf(page)).toBe(0);
  });

  it("has a line below the choice that the system's own colours show", async () => {
    const playground = await open({ forcedColors: "active" });
    const width = await choiceOf(playground).evaluate((choice) => getComputedStyle(choice).borderBottomWidth);
    expect(Number.parseFloat(width)).toBeGreaterThan(0);
  });
});
