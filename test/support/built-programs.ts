/**
 * The programs that tests start as processes, built once before the tests of a project, as people get them. From their sources, tsx would
 * translate 300 modules for each process anew: two seconds of processor time at every start instead of half a second.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    /** The folder with `main.js`, `serve.js` and `make-environment.js`. */
    readonly builtPrograms: string;
  }
}

const file = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export async function setup({ provide }: TestProject): Promise<() => Promise<void>> {
  // Beside `src`: package.json is found from there. A folder for each run, as several may run at once.
  const folder = await mkdtemp(file("../../.generated-programs-"));
  const input = {
    main: file("../../src/main.ts"),
    serve: file("serve.ts"),
    "make-environment": file("../fixtures/environment/make.ts"),
  };
  const configFile = file("../../vite.server.config.ts");
  await build({
    configFile,
    logLevel: "warn",
    build: { outDir: folder, sourcemap: false, rolldownOptions: { input } },
  });
  provide("builtPrograms", folder);
  return () => rm(folder, { recursive: true, force: true });
}
