/** `npm run bench [-- names…] [--quick] [--json FILE]`: runs the benchmarks and prints one table. */
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { availableParallelism, cpus, loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { baseline } from "./baseline.ts";
import { batching } from "./batching.ts";
import { cluster } from "./cluster.ts";
import { demo } from "./demo.ts";
import { dialects } from "./dialects.ts";
import { fanOut } from "./fan-out.ts";
import { fidelity } from "./fidelity.ts";
import { firstPreview } from "./first-preview.ts";
import { host } from "./host.ts";
import { images } from "./images.ts";
import { isWithin, missing, type Benchmark, type Figure } from "./lib/figures.ts";
import { root } from "./lib/processes.ts";
import { table } from "./lib/table.ts";
import { lora } from "./lora.ts";
import { models } from "./models.ts";
import { neighbour } from "./neighbour.ts";
import { page } from "./page.ts";
import { polling } from "./polling.ts";
import { previews, stalls } from "./previews.ts";
import { realtime } from "./realtime.ts";
import { shortcuts } from "./shortcuts.ts";
import { start } from "./start.ts";

const BENCHMARKS: Readonly<Record<string, Benchmark>> = {
  host,
  previews,
  stalls,
  "first-preview": firstPreview,
  dialects,
  realtime,
  batching,
  "fan-out": fanOut,
  polling,
  cluster,
  fidelity,
  demo,
  images,
  neighbour,
  shortcuts,
  lora,
  models,
  start,
  page,
  baseline,
};

/** A run that is stuck ends; nothing that is measured here takes this long. */
const PATIENCE_MS = 20 * 60_000;

const USAGE = `npm run bench [-- names…] [--quick] [--repeats N] [--json FILE]

  names      ${Object.keys(BENCHMARKS).join(", ")}; all of them without one
  --quick    fewer and shorter runs, to see that they run
  --repeats  of each pair of arms (5)
  --json     also writes the figures there

bench/README.md says what each measures, and against what.`;

const { values, positionals } = readArguments();
if (values.help) {
  console.log(USAGE);
  process.exit();
}
const unknown = positionals.filter((name) => !(name in BENCHMARKS));
if (unknown.length > 0) {
  console.error(`no such benchmark: ${unknown.join(", ")}; there are ${Object.keys(BENCHMARKS).join(", ")}`);
  process.exit(2);
}
const named = process.env["LATENTCAST_PYTHON"];
const python = named ?? join(root, ".venv", "bin", "python");
if (!existsSync(python)) {
  console.error(
    `${python} is missing: run \`npx latentcast setup\` first, or name an interpreter in LATENTCAST_PYTHON`,
  );
  process.exit(2);
}
const repeats = values.repeats === undefined ? (values.quick ? 2 : 5) : Number(values.repeats);
const began = performance.now();
const machine = {
  cpu: cpus()[0]?.model ?? "",
  cores: availableParallelism(),
  loadBefore: loadavg()[0] ?? 0,
  node: process.version,
};
const figures: Figure[] = [];
setTimeout(() => {
  console.error(`stuck: ended after ${PATIENCE_MS / 60_000} minutes`);
  void finish(1);
}, PATIENCE_MS).unref();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void finish(1));

for (const [name, benchmark] of Object.entries(BENCHMARKS)) {
  if (positionals.length > 0 && !positionals.includes(name)) continue;
  console.error(`${name} …`);
  try {
    figures.push(...(await benchmark({ repeats, quick: values.quick, python })));
  } catch (error) {
    figures.push(missing(name, "did not run", error instanceof Error ? error.message : String(error)));
  }
}
await finish(0);

/** Prints what there is, also of a run that was cut short. */
async function finish(exitCode: number): Promise<void> {
  const over = figures.filter((each) => isWithin(each) === false);
  const seconds = (performance.now() - began) / 1_000;
  console.log(table(figures));
  console.log(
    `\n${figures.length} figures, ${over.length} over their gate; ${repeats} repeats, ${seconds.toFixed(0)} s; ` +
      `${machine.cores} cores, load ${machine.loadBefore.toFixed(1)} before the run`,
  );
  if (values.json !== undefined) {
    const report = {
      machine,
      repeats,
      seconds,
      figures: figures.map((each) => ({ ...each, ok: isWithin(each) ?? null })),
    };
    await writeFile(values.json, `${JSON.stringify(report, null, 2)}\n`);
  }
  process.exit(exitCode);
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        quick: { type: "boolean", default: false },
        json: { type: "string" },
        repeats: { type: "string" },
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    process.exit(2);
  }
}
