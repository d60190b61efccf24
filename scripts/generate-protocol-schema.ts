/** Writes the wire's JSON Schema for the Python side. `--check` compares instead and fails when the file is stale. */
import { readFile, writeFile } from "node:fs/promises";
import { z } from "zod";
import { commandMessage, PROTOCOL_VERSION, reportMessage } from "../src/protocol/messages.ts";

const target = new URL("../python/latentcast_worker/protocol.schema.json", import.meta.url);
const schema = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  title: "Latentcast worker protocol",
  version: PROTOCOL_VERSION,
  $defs: {
    command: withoutDialect(z.toJSONSchema(commandMessage)),
    report: withoutDialect(z.toJSONSchema(reportMessage)),
  },
};
const text = `${JSON.stringify(schema, null, 2)}\n`;

if (process.argv.includes("--check")) {
  const current = await readFile(target, "utf8").catch(() => "");
  if (current !== text) {
    console.error("python/latentcast_worker/protocol.schema.json is stale: run `npm run gen`");
    process.exitCode = 1;
  }
} else {
  await writeFile(target, text);
}

function withoutDialect(json: Record<string, unknown>): Record<string, unknown> {
  const { $schema: _dialect, ...rest } = json;
  return rest;
}
