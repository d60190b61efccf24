/** `npm run gen`: makes every generated file. With `--check` fails when one of them is stale. */
import { spawnSync } from "node:child_process";

const GENERATORS = ["generate-protocol-python.ts", "generate-docs.ts"];

const statuses = GENERATORS.map((name) => {
  const script = new URL(name, import.meta.url).pathname;
  const args = ["--import", "tsx", script, ...process.argv.slice(2)];
  return spawnSync(process.execPath, args, { stdio: "inherit" }).status;
});
process.exitCode = statuses.every((status) => status === 0) ? 0 : 1;
