/** How soon the page answers to its visitor: from the address to a form whose script has taken it over. */
import { chromiumPath, startBrowser } from "../test/support/browser.ts";
import { figure, missing, type Figure, type Settings } from "./lib/figures.ts";
import { buildProject } from "./lib/processes.ts";
import { startModelServer } from "./lib/servers.ts";

export async function page(settings: Settings): Promise<Figure[]> {
  if (chromiumPath === undefined) return [missing("page", "not measured", "there is no Chromium on this machine")];
  buildProject();
  await using server = await startModelServer(settings, "noise");
  const browser = await startBrowser();
  try {
    const visit = async (): Promise<number> => {
      // A visitor who was never here: nothing cached.
      const context = await browser.newContext();
      const tab = await context.newPage();
      const began = performance.now();
      await tab.goto(server.url, { waitUntil: "commit" });
      await tab.locator("body[data-state]").waitFor();
      const seconds = (performance.now() - began) / 1_000;
      await context.close();
      return seconds;
    };
    await visit();
    const times: number[] = [];
    for (let repeat = 0; repeat < settings.repeats; repeat += 1) times.push(await visit());
    return [
      figure(
        {
          id: "page",
          what: "address to a page that answers",
          unit: "s",
          gate: { most: 1 },
          note: "Chromium, no cache",
        },
        times,
      ),
    ];
  } finally {
    await browser.close();
  }
}
