/** A real browser: the machine's own Chromium, without a screen and without calls home. */
import { existsSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { delimiter, join } from "node:path";
import { once } from "node:events";
import { chromium, type Browser } from "playwright-core";

const NAMES = ["chromium", "chromium-browser", "google-chrome"];

const ARGUMENTS = [
  "--no-sandbox",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-gpu",
  "--disable-quic",
  "--disable-sync",
];

/** Where Chromium is; undefined when this machine has none. */
export const chromiumPath: string | undefined = (process.env["PATH"] ?? "")
  .split(delimiter)
  .flatMap((folder) => NAMES.map((name) => join(folder, name)))
  .find((path) => existsSync(path));

export function startBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: chromiumPath ?? "chromium", args: ARGUMENTS });
}

export interface Site {
  readonly origin: string;
  close(): Promise<void>;
}

/** A web site of its own: `page`, which by default has each of `modules` as a global variable. */
export async function startSite(modules: Readonly<Record<string, string>>, page = pageOf(modules)): Promise<Site> {
  const server: Server = createServer((request, response) => {
    const script = modules[/^\/(.*)\.js$/.exec(request.url ?? "")?.[1] ?? ""];
    response.setHeader("content-type", script === undefined ? "text/html" : "text/javascript");
    response.end(script ?? page);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  // A listening TCP server has an address of this form.
  const { port } = server.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

function pageOf(modules: Readonly<Record<string, string>>): string {
  const names = Object.keys(modules);
  const imports = names.map((name) => `import * as ${name} from "/${name}.js";`).join("");
  return `<!doctype html><script type="module">${imports}Object.assign(globalThis, {${names.join()}})</script>`;
}
