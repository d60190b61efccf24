/** The playground: one page, built to `dist/playground`. */
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";
import { z } from "zod";
import { generateInput } from "./src/schema/input.ts";

const folder = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  root: folder("src/playground"),
  // Relative, so that the page also works below a path of a proxy.
  base: "./",
  publicDir: "public",
  // The limits of the form are the schema's own. As data they weigh 1 kB; with the library that made them, 28.
  define: { INPUT_SCHEMA: JSON.stringify(z.toJSONSchema(generateInput, { io: "input" })) },
  build: {
    outDir: folder("dist/playground"),
    emptyOutDir: true,
    target: ["chrome123", "firefox121", "safari17.5"],
    // The policy of the page allows no inline scripts, and data: is for pictures only.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: false,
  },
});
