/** `latentcast generate`: one request from the command line, with the engine in this process. */
import { mkdir, writeFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { LatentcastError } from "../errors.ts";
import { decodeForTerminal } from "../images/encode.ts";
import { createOrchestrator, type GeneratedResult, type InProcessStream, type StreamEvent } from "../in-process.ts";
import type { Picture } from "../jobs/events.ts";
import { SCHEDULERS } from "../protocol/messages.ts";
import { generateInput, type GenerateInput, type OutputFormat } from "../schema/input.ts";
import { parseObject } from "../schema/parse.ts";
import { UsageError, type Arguments, type FlagTable } from "./arguments.ts";
import { halfBlocks } from "./half-blocks.ts";
import { configOf, settingFlags } from "./settings.ts";
import { preparedPython } from "./setup.ts";
import type { Terminal } from "./terminal.ts";
import type { Verb } from "./verb.ts";

/** The request's fields behind the flags; everything else of the request keeps its default. */
const FIELDS = {
  negative: "negative_prompt",
  steps: "num_inference_steps",
  width: "width",
  height: "height",
  seed: "seed",
  guidance: "guidance_scale",
  "num-images": "num_images",
  scheduler: "scheduler",
} as const;

const FORMATS: Readonly<Record<string, OutputFormat>> = {
  ".png": "png",
  ".jpg": "jpeg",
  ".jpeg": "jpeg",
  ".webp": "webp",
  ".avif": "avif",
};

const flags: FlagTable = {
  output: {
    short: "o",
    value: "FILE",
    help: "Where the picture goes: .png, .jpg, .webp or .avif. Several become FILE-1, FILE-2, …",
  },
  negative: { value: "TEXT", help: "What the picture should not show." },
  steps: { value: "N", help: "Denoising steps, 1 to 50." },
  width: { value: "PIXELS", help: "A multiple of 8." },
  height: { value: "PIXELS", help: "A multiple of 8." },
  seed: { value: "N", help: "The same seed makes the same picture." },
  guidance: { value: "N", help: "How strictly the prompt is followed, 0 to 20." },
  "num-images": { value: "N", help: "1 to 4; picture i uses seed + i." },
  scheduler: { value: "NAME", help: `One of ${SCHEDULERS.join(", ")}.` },
  previews: { value: "FOLDER", help: "Write each preview there." },
  show: { help: "Draw the previews in the terminal (24-bit colour)." },
  ...settingFlags(["model", "tiny-vae", "devices", "python"]),
};

export const generate: Verb = {
  usage: '"PROMPT" -o FILE [flags]',
  positionals: 1,
  flags,
  run: async (context) => {
    const { args, terminal, signal } = context;
    const order = readOrder(args, terminal);
    const python = await preparedPython(context);
    await using orchestrator = await createOrchestrator({ config: { ...configOf(context), python } });
    terminal.progress("loading the model");
    await abortable(orchestrator.ready(), signal);
    const stream = orchestrator.stream(order.input, { signal });
    const result = await follow(stream, order, terminal);
    for (const [file, picture] of namedPictures(order.output, result.images)) {
      await writeFile(file, picture.bytes);
      terminal.print(`${file}  ${picture.width}×${picture.height}, seed ${picture.seed}`);
    }
    terminal.note(`${(result.timings.inferenceMs / 1_000).toFixed(1)} s`);
    return "done";
  },
};

interface Order {
  readonly input: GenerateInput;
  readonly output: string;
  readonly previews: string | null;
  readonly show: boolean;
}

/** Everything that can be wrong with the request is found before a model is loaded for it. */
function readOrder({ positionals, values, switches }: Arguments, terminal: Terminal): Order {
  const [prompt] = positionals;
  if (prompt === undefined)
    throw new UsageError('say what to paint: latentcast generate "a lighthouse at dusk" -o out.png');
  const { output, previews = null } = values;
  if (output === undefined) throw new UsageError("say where the picture goes: -o out.png");
  const format = FORMATS[extname(output).toLowerCase()];
  if (format === undefined) throw new UsageError(`${output} does not end in ${Object.keys(FORMATS).join(", ")}`);
  const show = switches.has("show");
  if (show && !terminal.isInteractive) throw new UsageError("--show needs a terminal to draw in");
  const input: Record<string, unknown> = { prompt, output_format: format };
  for (const [flag, field] of Object.entries(FIELDS)) {
    const value = values[flag];
    if (value === undefined) continue;
    // Text stays text; of a number that is none the schema says what it should be.
    input[field] = flag === "negative" || flag === "scheduler" ? value : Number(value);
  }
  // Each step, at the rate at which a terminal still follows; the files alone need the usual every fifth.
  if (show) input["preview"] = { every: 1, max_per_second: 10 };
  else if (previews === null) input["preview"] = false;
  return { input: checked(input), output, previews, show };
}

function checked(input: Record<string, unknown>): GenerateInput {
  const parsed = parseObject(generateInput, input);
  if (parsed.ok) return parsed.input;
  const flagOf = new Map<string, string>(Object.entries(FIELDS).map(([flag, field]) => [field, `--${flag}`]));
  const told = parsed.problems.map(({ loc, msg }) => {
    const field = loc[1] ?? "prompt";
    return `${flagOf.get(field) ?? field}: ${msg}`;
  });
  throw new UsageError(told.join("; "));
}

async function follow(stream: InProcessStream, order: Order, terminal: Terminal): Promise<GeneratedResult> {
  if (order.previews !== null) await mkdir(order.previews, { recursive: true });
  for await (const event of stream) {
    const { text, fraction } = describe(event);
    if (event.kind === "preview") await showPreview(event, order, terminal);
    if (text !== null) terminal.progress(text, fraction);
  }
  return stream.result();
}

function describe(event: StreamEvent): { readonly text: string | null; readonly fraction: number | null } {
  switch (event.kind) {
    case "queued":
      return { text: "waiting for the worker", fraction: null };
    case "started":
      return { text: "started", fraction: 0 };
    case "progress":
      return {
        text: `step ${event.step + 1} of ${event.totalSteps}`,
        fraction: (event.step + 1) / event.totalSteps,
      };
    case "preview":
      return { text: null, fraction: null };
  }
}

async function showPreview(
  { images, step }: Extract<StreamEvent, { readonly kind: "preview" }>,
  { previews, show }: Order,
  terminal: Terminal,
): Promise<void> {
  if (previews !== null) {
    const name = join(previews, `step-${String(step).padStart(2, "0")}.jpg`);
    for (const [file, picture] of namedPictures(name, images)) await writeFile(file, picture.bytes);
  }
  const [first] = images;
  if (!show || first === undefined) return;
  // Two pixels a row; the progress line and the prompt keep their rows.
  const pixels = await decodeForTerminal(first.bytes, terminal.columns, Math.max(2, (terminal.rows - 3) * 2));
  terminal.draw(halfBlocks(pixels));
}

/** `out.png` for one picture, `out-1.png`, `out-2.png`, … for several. */
function namedPictures(file: string, pictures: readonly Picture[]): (readonly [string, Picture])[] {
  const extension = extname(file);
  const stem = file.slice(0, file.length - extension.length);
  return pictures.map((picture, index) => [pictures.length === 1 ? file : `${stem}-${index + 1}${extension}`, picture]);
}

/** Stops waiting when the signal comes. The work itself is ended by whoever owns it. */
async function abortable(work: Promise<void>, signal: AbortSignal): Promise<void> {
  let stop: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = (): void => reject(new LatentcastError("cancelled"));
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
  });
  try {
    await Promise.race([work, aborted]);
  } finally {
    if (stop !== undefined) signal.removeEventListener("abort", stop);
    // The race has ended; a loser that fails later has nobody to tell.
    work.catch(() => undefined);
  }
}
