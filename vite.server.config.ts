/**
 * The server, the command line and the client as a few files in `dist`. Node 20 resolves, reads and compiles modules one by one: as a file
 * for each module of `src`, a start took a fifth longer. Packages stay where npm puts them.
 */
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const source = (path: string): string => fileURLToPath(new URL(`src/${path}`, import.meta.url));

export default defineConfig({
  publicDir: false,
  build: {
    ssr: true,
    outDir: fileURLToPath(new URL("dist", import.meta.url)),
    // The declarations of tsc are there.
    emptyOutDir: false,
    target: "node20",
    sourcemap: true,
    reportCompressedSize: false,
    rolldownOptions: {
      input: { main: source("main.ts"), index: source("index.ts"), "client/index": source("client/index.ts") },
      // All directly in `dist`: `package-info.ts` finds package.json from there.
      output: { entryFileNames: "[name].js", chunkFileNames: "[name]-[hash].js" },
    },
  },
});
