/** The page at `GET /` with a server that has LoRAs: chosen, weighed, in their order, and in all that the page writes. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { overflowOf, seriousFindings } from "../support/axe.ts";
import { chromiumPath } from "../support/browser.ts";
import { eventually } from "../support/eventually.ts";
import { type Playground, usePages, usePaintingServer } from "../support/playground.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

const plain = usePaintingServer();
let server: TestServer;
let folder: string;

beforeAll(async () => {
  if (chromiumPath === undefined) return;
  folder = await mkdtemp(join(tmpdir(), "latentcast-loras-"));
  await mkdir(join(folder, "ink"));
  for (const name of ["watercolour", "ink/fine, dark: 2"]) await writeFile(join(folder, `${name}.safetensors`), "");
  server = await startTestServer({ worker: "paints_landscapes", env: { LATENTCAST_LORA_DIR: folder } });
  await server.ready();
});
afterAll(async () => {
  await server?.close();
  if (folder !== undefined) await rm(folder, { recursive: true });
});
const openPage = usePages();

const INK = "ink/fine, dark: 2";

/** Both of the server's LoRAs are chosen. */
async function withBoth(): Promise<Playground> {
  const playground = await openPage({ server, query: "?seed=1" });
  const offer = playground.page.getByLabel("Add a LoRA");
  await offer.selectOption("watercolour");
  await offer.selectOption(INK);
  return playground;
}

const namesOf = ({ page }: Playground): Promise<string[]> => page.locator(".lora-name").allTextContents();

describe("LoRAs", () => {
  it("are chosen, weighed and put in order, and the programs that the page writes have them", async () => {
    const playground = await withBoth();
    const { page } = playground;
    await page.getByRole("spinbutton", { name: "Weight of watercolour" }).fill("0.6");
    const slider = page.getByRole("slider", { name: `Weight of ${INK}` });
    await slider.focus();
    await page.keyboard.press("ArrowLeft");
    expect(await page.getByRole("spinbutton", { name: `Weight of ${INK}` }).inputValue()).toBe("0.95");
    await page.getByRole("button", { name: `Earlier: ${INK}` }).focus();
    await page.keyboard.press("Enter");
    expect(await namesOf(playground)).toEqual([INK, "watercolour"]);
    await playground.generate("a lake");
    await playground.finished();
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
    await page.getByRole("button", { name: "Copy as JavaScript" }).click();
    const program = await page.evaluate(() => navigator.clipboard.readText());
    const [, input] = /client\.stream\((\{.*\})\);/s.exec(program) ?? [];
    expect(JSON.parse(input ?? "")).toMatchObject({
      loras: [
        { path: INK, scale: 0.95 },
        { path: "watercolour", scale: 0.6 },
      ],
    });
  });

  it("change the picture, and a link brings both back", async () => {
    const playground = await withBoth();
    await playground.generate("a lake");
    await playground.finished();
    const { bytes } = await playground.download();
    const other = await openPage({ server, query: new URL(playground.page.url()).search });
    await eventually(async () => expect(await namesOf(other)).toEqual(["watercolour", INK]));
    await other.generate();
    await other.finished();
    expect((await other.download()).bytes).toEqual(bytes);
    for (const name of ["watercolour", INK]) await other.page.getByRole("button", { name: `Remove ${name}` }).click();
    await other.generate();
    await other.statusIs(/^Finished/);
    expect((await other.download()).bytes).not.toEqual(bytes);
  });

  it("are laid out within 360 pixels, without anything that axe finds serious", async () => {
    const playground = await withBoth();
    await playground.page.setViewportSize({ width: 360, height: 740 });
    expect(await overflowOf(playground.page)).toBe(0);
    expect(await seriousFindings(playground.page)).toEqual([]);
  });

  it("are not spoken of where the server has none", async () => {
    const { page } = await openPage({ server: plain() });
    await page.locator("#service[data-status=ready]").waitFor();
    expect(await page.locator("#lora-part").isVisible()).toBe(false);
  });
});
