/** Writes the Python side of the protocol from its Zod definitions. `--check` compares instead and fails when a file is stale. */
import { readFile, writeFile } from "node:fs/promises";
import { z } from "zod";
import * as messages from "../src/protocol/messages.ts";
import * as params from "../src/protocol/params.ts";
import * as settings from "../src/protocol/worker-settings.ts";
import { fewStepModule } from "./lib/few-step-python.ts";
import { pythonModule } from "./lib/python-from-zod.ts";

await update(
  "protocol.py",
  pythonModule({
    doc: [
      "The messages between orchestrator and worker, as the worker sees them: commands in, reports out.",
      "",
      "Generated from `src/protocol/params.ts` and `src/protocol/messages.ts` by `npm run gen`; do not edit.",
    ].join("\n"),
    constants: {
      PROTOCOL_VERSION: messages.PROTOCOL_VERSION,
      MAX_HEADER_BYTES: messages.MAX_HEADER_BYTES,
      MAX_SEED: params.MAX_SEED,
    },
    named: { ...namedSchemas(params), ...namedSchemas(messages) },
    base: messages.jobRef,
    unions: [
      { name: "Command", schema: messages.commandMessage, read: true },
      { name: "Report", schema: messages.reportMessage, read: false },
    ],
    read: ["jobRef"],
  }),
);

await update(
  "settings.py",
  pythonModule({
    doc: [
      "What a worker process is started with, as the orchestrator writes it.",
      "",
      "Generated from `src/protocol/worker-settings.ts` by `npm run gen`; do not edit.",
    ].join("\n"),
    constants: {},
    named: namedSchemas(settings),
    read: ["workerSettings"],
  }),
);

await update("few_step.py", fewStepModule());

function namedSchemas(module: Readonly<Record<string, unknown>>): Record<string, z.ZodType> {
  const schemas: Record<string, z.ZodType> = {};
  for (const [name, value] of Object.entries(module)) {
    if (value instanceof z.ZodEnum || value instanceof z.ZodObject) schemas[name] = value;
  }
  return schemas;
}

async function update(name: string, text: string): Promise<void> {
  const path = `python/latentcast_worker/${name}`;
  const url = new URL(`../${path}`, import.meta.url);
  const current = await readFile(url, "utf8").catch(() => "");
  if (current === text) return;
  if (process.argv.includes("--check")) {
    console.error(`${path} is stale: run \`npm run gen\``);
    process.exitCode = 1;
  } else {
    await writeFile(url, text);
  }
}
