/** The page at `GET /` with a real model: the whole way from a prompt to a kept picture. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { chromiumPath } from "../support/browser.ts";
import { eventually } from "../support/eventually.ts";
import { usePages } from "../support/playground.ts";
import { startTestServer, type TestServer } from "../support/server.ts";

const open = usePages();
let server: TestServer;

beforeAll(async () => {
  if (chromiumPath !== undefined) server = await startTestServer({ env: { LATENTCAST_MODEL: "demo" } });
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
