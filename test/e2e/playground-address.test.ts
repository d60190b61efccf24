/** The page's address: what it holds, how often it changes, and what happens to texts that are too long for it. */
import { describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { type Playground, type PlaygroundOptions, usePages, usePaintingServer } from "../support/playground.ts";

const server = usePaintingServer();
const openPage = usePages();

const open = (options: Partial<PlaygroundOptions> = {}): Promise<Playground> =>
  openPage({ server: server(), ...options });

/** What WebKit does at the 101st call within 30 seconds. */
const WEBKIT_RULE = `
  const original = history.replaceState.bind(history);
  let calls = [];
  history.replaceState = (...given) => {
    calls = calls.filter((at) => Date.now() - at < 30_000);
    if (calls.length >= 100) throw new DOMException("more than 100 times per 30 seconds", "SecurityError");
    calls.push(Date.now());
    return original(...given);
  };`;

const LONG = "夕焼けの湖".repeat(360);

const searchOf = ({ page }: Playground): URLSearchParams => new URL(page.url()).searchParams;

describe("the address", () => {
  it("follows fast typing without exceeding WebKit's limit, and ends on the last text", async () => {
    const playground = await open({ script: WEBKIT_RULE });
    const text =
      "a lake before sunrise, thin mist above the water, a red boat at the shore, snow on the mountains behind it, calm";
    await playground.page.locator("#prompt").pressSequentially(text);
    await eventually(() => expect(searchOf(playground).get("prompt")).toBe(text));
    await playground.generate();
    await playground.finished();
  });

  it("is optional: a browser that refuses to change it still makes pictures, and a reload brings the form back", async () => {
    const playground = await open({
      script: "history.replaceState = () => { throw new DOMException('no', 'SecurityError'); };",
    });
    await playground.generate("a lake");
    await playground.finished();
    await playground.page.reload();
    expect(await playground.page.locator("#prompt").inputValue()).toBe("a lake");
  });

  it("holds the last keystroke also when the page is reloaded at once", async () => {
    const playground = await open();
    await playground.page.locator("#prompt").pressSequentially("dunes");
    await playground.page.reload();
    expect(await playground.page.locator("#prompt").inputValue()).toBe("dunes");
  });

  it("stays short with a prompt of 1,800 Chinese characters, and a reload brings prompt and picture back", async () => {
    const playground = await open({ query: "?seed=5" });
    const { page } = playground;
    await playground.generate(LONG);
    await playground.finished();
    await page.locator("#strip li").waitFor();
    expect(page.url().length).toBeLessThan(8_000);
    expect(await page.locator("#link-note").textContent()).toContain("the prompt");
    await page.reload();
    expect(await page.locator("#prompt").inputValue()).toBe(LONG);
    await playground.finished();
  });

  it("opens a link that leaves something out with the picture of this browser, and elsewhere says what is missing", async () => {
    const first = await open({ query: "?seed=6" });
    await first.generate(LONG);
    await first.finished();
    await first.page.locator("#strip li").waitFor();
    const query = new URL(first.page.url()).search;

    const nextTab = await open({ beside: first, query });
    await nextTab.finished();
    expect(await nextTab.page.locator("#prompt").inputValue()).toBe(LONG);

    const stranger = await open({ query });
    expect(await stranger.page.locator("#prompt").inputValue()).toBe("");
    expect(await stranger.page.locator("#link-note").textContent()).toContain("leaves out the prompt");
    expect(await stranger.page.locator("#seed").inputValue()).toBe("6");
  });

  it("leaves out the longest fields only", async () => {
    const negative = "Дождь ".repeat(700).trim();
    const playground = await open();
    await playground.page.locator("#prompt").fill("a lake");
    await playground.page.getByText("Negative prompt, format, previews").click();
    await playground.page.locator("#negative_prompt").fill(negative);
    await eventually(() => {
      expect(searchOf(playground).get("left_out")).toBe("negative_prompt");
      expect(searchOf(playground).get("prompt")).toBe("a lake");
    });
    await playground.page.locator("#negative_prompt").fill("rain");
    await eventually(() => expect(searchOf(playground).get("negative_prompt")).toBe("rain"));
    expect(await playground.page.locator("#link-note").textContent()).toBe("");
  });
});
