/** The page in a real browser, with everything collected that must never happen on it. */
import { setTimeout } from "node:timers/promises";
import type { Browser, BrowserContextOptions, Locator, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";
import { chromiumPath, startBrowser } from "./browser.ts";
import { startTestServer, type TestServer } from "./server.ts";

export interface PlaygroundOptions extends BrowserContextOptions {
  readonly server: TestServer;
  /** Query of the address, such as `?prompt=x`. */
  readonly query?: string;
  /** The page of another one's visitor, with the same storage. */
  readonly beside?: Playground;
  /** Runs before the page's own scripts, as a string of JavaScript. */
  readonly script?: string;
}

/** A real model on a busy machine; longer is a hang. */
const PATIENCE_MS = 100_000;

/** Chromium 156 silently drops the eleventh download of a page within a second: a test that asks again and again waits for ever. */
const DOWNLOAD_INTERVAL_MS = 150;

/**
 * A browser for the tests of a file, and every page closed after its test.
 * @param expected Complaints of the browser about what the tests do on purpose.
 */
export function usePages(expected?: RegExp): (options: PlaygroundOptions) => Promise<Playground> {
  let browser: Browser;
  const opened: Playground[] = [];
  beforeAll(async () => {
    if (chromiumPath !== undefined) browser = await startBrowser();
  });
  afterAll(() => browser?.close());
  beforeEach((context) => {
    if (chromiumPath === undefined) context.skip("needs Chromium");
  });
  afterEach(async () => {
    for (const playground of opened.splice(0)) await playground.close(expected);
  });
  return async (options) => {
    const playground = await Playground.open(browser, options);
    opened.push(playground);
    return playground;
  };
}

/** A server for the tests of a file, ready, whose pictures are painted rather than computed. */
export function usePaintingServer(): () => TestServer {
  let server: TestServer;
  beforeAll(async () => {
    if (chromiumPath === undefined) return;
    server = await startTestServer({ worker: "paints_landscapes" });
    await server.ready();
  });
  afterAll(() => server?.close());
  return () => server;
}

export class Playground {
  readonly page: Page;
  readonly #troubles: string[] = [];
  #nextDownload: Promise<unknown> = Promise.resolve();

  private constructor(page: Page, origin: string) {
    this.page = page;
    page.on("pageerror", (error) => this.#troubles.push(error.message));
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning") this.#troubles.push(message.text());
    });
    page.on("request", (request) => {
      const { protocol } = new URL(request.url());
      if (protocol === "data:" || protocol === "blob:") return;
      if (new URL(request.url()).origin !== origin) this.#troubles.push(`request to ${request.url()}`);
    });
  }

  static async open(
    browser: Browser,
    { server, query = "", beside, script, ...options }: PlaygroundOptions,
  ): Promise<Playground> {
    const context = beside?.page.context() ?? (await browser.newContext(options));
    const playground = new Playground(await context.newPage(), new URL(server.url).origin);
    if (script !== undefined) await playground.page.addInitScript(script);
    await playground.page.goto(`${server.url}/${query}`);
    return playground;
  }

  /** Fails when something was logged or asked for elsewhere; `expected` are the troubles that the test has made itself. */
  async close(expected?: RegExp): Promise<void> {
    const troubles = this.#troubles.filter((trouble) => expected?.test(trouble) !== true);
    await this.page.context().close();
    expect(troubles).toEqual([]);
  }

  /** Presses the button that starts a run. */
  async generate(prompt?: string): Promise<void> {
    if (prompt !== undefined) await this.page.getByLabel("Prompt", { exact: true }).fill(prompt);
    await this.page.getByRole("button", { name: "Generate", exact: true }).click();
  }

  /** Resolves when nothing runs any more. */
  async finished(): Promise<void> {
    await this.page.locator("body[data-state=shown]").waitFor({ timeout: PATIENCE_MS });
  }

  get status(): Locator {
    return this.page.locator("#status");
  }

  /** Resolves when the line below the picture says this. */
  async statusIs(text: string | RegExp): Promise<void> {
    await this.status.filter({ hasText: text }).waitFor({ timeout: PATIENCE_MS });
  }

  get scrubber(): Locator {
    return this.page.getByRole("slider", { name: "How the picture formed" });
  }

  /** The pictures in their frames, as they are seen now. */
  get pictures(): Locator {
    return this.page.locator(".plate .frame:visible > img:not([alt=''])");
  }

  /** What a screen reader says the pictures are. */
  async captions(): Promise<string[]> {
    return this.pictures.evaluateAll((images) => images.map((image) => (image as HTMLImageElement).alt));
  }

  /** Width and height in the file of the picture. */
  async sizes(): Promise<[number, number][]> {
    return this.pictures.evaluateAll((images) =>
      images.map((image): [number, number] => [
        (image as HTMLImageElement).naturalWidth,
        (image as HTMLImageElement).naturalHeight,
      ]),
    );
  }

  /** What an element's text has been since this was called; for what comes and goes faster than a test looks. */
  async textsOf(selector: string): Promise<() => Promise<string[]>> {
    await this.page.evaluate((target) => {
      const element = document.querySelector(target)!;
      const texts: string[] = [];
      Reflect.set(globalThis, `texts ${target}`, texts);
      new MutationObserver(() => texts.push(element.textContent)).observe(element, {
        childList: true,
        characterData: true,
        subtree: true,
      });
    }, selector);
    return () => this.page.evaluate((target) => Reflect.get(globalThis, `texts ${target}`) as string[], selector);
  }

  /** The file behind the Download button, or behind another one. */
  async download(name: string | RegExp = /^Download/): Promise<{ readonly name: string; readonly bytes: Buffer }> {
    await this.#nextDownload;
    this.#nextDownload = setTimeout(DOWNLOAD_INTERVAL_MS);
    const [download] = await Promise.all([
      this.page.waitForEvent("download"),
      this.page.getByRole("button", { name }).click(),
    ]);
    const chunks: Buffer[] = [];
    for await (const chunk of await download.createReadStream()) chunks.push(chunk as Buffer);
    return { name: download.suggestedFilename(), bytes: Buffer.concat(chunks) };
  }
}
