/** `latentcast generate`: one request from the command line, with the engine in this process. */
import { writeFile } from "node:fs/promises";
import { extname, join } from "node:path";
import pino, { type Logger } from "pino";
import { z } from "zod";
import type { Config } from "../config.ts";
import { SETTINGS } from "../config/settings.ts";
import { LatentcastError } from "../errors.ts";
import { decodeForTerminal } from "../images/encode.ts";
import { startOrchestrator, type GeneratedResult, type InProcessStream, type StreamEvent } from "../in-process.ts";
import type { EncodedImage } from "../jobs/events.ts";
import { makeFolder } from "../make-folder.ts";
import { GENERATE_FLAGS, readGenerateRequest, type GenerateRequest } from "./generate-input.ts";
import { modelToDraw } from "./generate-model.ts";
import { halfBlocks } from "./half-blocks.ts";
import { configOf } from "./settings.ts";
import { preparedPython } from "./setup.ts";
import type { Terminal } from "./terminal.ts";
import type { CliCommand, CommandContext } from "./command.ts";

export const generate: CliCommand = {
  usage: '"PROMPT" -o FILE [flags]',
  positionals: 1,
  flags: GENERATE_FLAGS,
  run: async (context) => {
    const { args, terminal, signal } = context;
    const request = await readGenerateRequest(args, terminal);
    const config = await configToDraw(context);
    const python = await preparedPython(context, config);
    await using orchestrator = await startOrchestrator({ config, env: context.env, log: errorLog(terminal), python });
    terminal.progress("loading the model");
    await abortable(orchestrator.ready(), signal);
    const stream = orchestrator.stream(request.input, { signal });
    const result = await follow(stream, request, terminal);
    for (const [file, image] of namedImages(request.output, result.images)) {
      await writeFile(file, image.bytes);
      terminal.print(`${file}  ${image.width}×${image.height}, seed ${image.seed}`);
    }
    for (const warning of result.warnings) terminal.note(warning);
    terminal.note(`${(result.timings.inferenceMs / 1_000).toFixed(1)} s`);
    return "done";
  },
};

async function configToDraw(context: CommandContext): Promise<Config> {
  const config = configOf(context);
  if (context.args.values["model"] === undefined) return config;
  const { env, value } = SETTINGS.model;
  // The flag goes before the variable, and also before what is wrong with it.
  const { data: configured = [] } = value.safeParse(context.env[env[0] ?? ""]);
  return { ...config, model: await modelToDraw(config.model, configured) };
}

/** Shows only the engine's errors: they are the reason behind the failure that follows. */
function errorLog(terminal: Terminal): Logger {
  const line = z.object({ msg: z.string() });
  return pino({ level: "error" }, { write: (text) => terminal.note(line.parse(JSON.parse(text)).msg) });
}

async function follow(stream: InProcessStream, request: GenerateRequest, terminal: Terminal): Promise<GeneratedResult> {
  if (request.previews !== null) await makeFolder(request.previews);
  for await (const event of stream) {
    const { text, fraction } = describe(event);
    if (event.kind === "preview") await showPreview(event, request, terminal);
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
  { previews, show }: GenerateRequest,
  terminal: Terminal,
): Promise<void> {
  if (previews !== null) {
    const name = join(previews, `step-${String(step).padStart(2, "0")}.jpg`);
    for (const [file, image] of namedImages(name, images)) await writeFile(file, image.bytes);
  }
  const [first] = images;
  if (!show || first === undefined) return;
  // Two pixels a row; the progress line and the prompt keep their rows.
  const pixels = await decodeForTerminal(first.bytes, terminal.columns, Math.max(2, (terminal.rows - 3) * 2));
  terminal.draw(halfBlocks(pixels));
}

/** `out.png` for one image, `out-1.png`, `out-2.png`, … for several. */
function namedImages(file: string, images: readonly EncodedImage[]): (readonly [string, EncodedImage])[] {
  const extension = extname(file);
  const stem = file.slice(0, file.length - extension.length);
  return images.map((image, index) => [images.length === 1 ? file : `${stem}-${index + 1}${extension}`, image]);
}

/** Stops waiting when the signal fires. The caller ends the work itself. */
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
    // The race has ended: a later failure of the loser must not become an unhandled rejection.
    work.catch(() => undefined);
  }
}
