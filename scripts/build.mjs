/**
 * Compiles `src` to `dist` when it has to: `npm start` on an unchanged checkout costs a hash (20 ms), not a compile (seconds).
 * Plain JavaScript, as it runs before anything is built.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const stampFile = join(root, "dist", ".stamp");
const sources = [
  "package-lock.json",
  "tsconfig.json",
  "tsconfig.build.json",
  "vite.config.ts",
  "vite.server.config.ts",
  ...readdirSync(join(root, "src"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length))
    // The order in which a folder is read is the file system's own.
    .toSorted((a, b) => (a < b ? -1 : 1)),
];

const hash = createHash("sha256");
for (const file of sources)
  hash
    .update(file)
    .update("\0")
    .update(readFileSync(join(root, file)));
const stamp = hash.digest("hex");

if (!existsSync(stampFile) || readFileSync(stampFile, "utf8") !== stamp) {
  console.error("building");
  // Modules whose source is gone would stay importable.
  rmSync(join(root, "dist"), { recursive: true, force: true });
  const run = (script, ...args) =>
    spawnSync(process.execPath, [join(root, "node_modules", ...script), ...args], { cwd: root, stdio: "inherit" })
      .status ?? 1;
  const status =
    run(["typescript", "bin", "tsc"], "-p", "tsconfig.build.json") ||
    run(["vite", "bin", "vite.js"], "build", "--config", "vite.server.config.ts", "--logLevel", "warn") ||
    run(["vite", "bin", "vite.js"], "build", "--logLevel", "warn");
  if (status === 0) {
    // What `npx latentcast` runs in a checkout; an installed package gets this from npm.
    chmodSync(join(root, "dist", "main.js"), 0o755);
    writeFileSync(stampFile, stamp);
  }
  process.exitCode = status;
}
