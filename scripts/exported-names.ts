/** Fails when two modules of `src` export the same name: a reader who looks for it must not have to guess which one is meant. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const source = fileURLToPath(new URL("../src/", import.meta.url));
const DECLARATION = /^export (?:async )?(?:function\*?|const|let|class|interface|type|enum) (\w+)/gm;

const places = new Map<string, Set<string>>();
for (const file of readdirSync(source, { recursive: true, encoding: "utf8" })) {
  if (!file.endsWith(".ts")) continue;
  for (const [, name = ""] of readFileSync(join(source, file), "utf8").matchAll(DECLARATION))
    places.set(name, (places.get(name) ?? new Set()).add(file));
}
for (const [name, files] of places) {
  if (files.size === 1) continue;
  console.error(`${name} is exported by ${[...files].join(" and ")}`);
  process.exitCode = 1;
}
