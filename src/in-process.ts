/** The orchestrator for programs that want images without HTTP. */
import pino, { type Logger } from "pino";
import { withProcessDefaults, type Config } from "./config.ts";
import type { Environment } from "./config/environment.ts";
import { LatentcastError } from "./errors.ts";
import { loadEncoder } from "./images/encode.ts";
import { terminalError, isTerminal, type EncodedImage, type JobResult, type TerminalEvent } from "./jobs/events.ts";
import type { InputReader } from "./images/source.ts";
import type { Job } from "./jobs/job.ts";
import { invalidRequest } from "./jobs/request.ts";
import type { Jobs } from "./jobs/jobs.ts";
import { openInputReader, startJobs, type RuntimeOptions } from "./runtime.ts";
import { generateInput, type GenerateInput } from "./schema/input.ts";
import { parseObject } from "./schema/parse.ts";

export interface CreateOrchestratorOptions {
  /** Defaults to the settings in `env`. */
  readonly config?: Config;
  /** Variables that workers and the set-up of their Python see; defaults to those of this process. */
  readonly env?: Environment;
  /** Silent when absent. */
  readonly log?: Logger;
}

/** Images may come as they are: the bytes of a JPEG, PNG, WebP, AVIF, GIF or TIFF file. */
export type OrchestratorInput = Omit<GenerateInput, "image_url" | "mask_url"> & {
  readonly image_url?: string | Uint8Array | null | undefined;
  readonly mask_url?: string | Uint8Array | null | undefined;
};

export interface GenerateOptions {
  /** Cancels the job; the call rejects with the code `cancelled`. */
  readonly signal?: AbortSignal;
}

export interface GeneratedResult {
  /** The only image, or the first of several. */
  readonly image: EncodedImage;
  readonly images: readonly EncodedImage[];
  readonly seed: number;
  readonly prompt: string;
  readonly timings: JobResult["timings"];
  readonly warnings: readonly string[];
}

export type StreamEvent =
  | { readonly kind: "queued"; readonly position: number; readonly estimateMs: number | null }
  | { readonly kind: "started"; readonly totalSteps: number }
  | { readonly kind: "progress"; readonly step: number; readonly totalSteps: number }
  | {
      readonly kind: "preview";
      readonly step: number;
      readonly totalSteps: number;
      readonly image: EncodedImage;
      readonly images: readonly EncodedImage[];
    };

export interface InProcessStream extends AsyncIterable<StreamEvent> {
  /** Resolves with the finished images, or rejects with the error that ended the job. */
  result(): Promise<GeneratedResult>;
}

export interface InProcessOrchestrator {
  /** Resolves when an image could be made at once. */
  ready(): Promise<void>;
  /** Rejects with a {@link LatentcastError}. */
  generate(input: OrchestratorInput, options?: GenerateOptions): Promise<GeneratedResult>;
  /** Starts with the first read; leaving the loop before the end cancels the job. */
  stream(input: OrchestratorInput, options?: GenerateOptions): InProcessStream;
  /** Cancels what runs and stops the workers. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export function createOrchestrator(options: CreateOrchestratorOptions = {}): Promise<InProcessOrchestrator> {
  return startOrchestrator(options);
}

/** The same for the command line, which has prepared the interpreter; not part of the public interface. */
export async function startOrchestrator(
  options: CreateOrchestratorOptions & Pick<RuntimeOptions, "python">,
): Promise<InProcessOrchestrator> {
  const { log = pino({ level: "silent" }) } = options;
  await loadEncoder();
  const { config, env } = withProcessDefaults(options);
  const jobs = await startJobs({ ...options, config, env, log });
  // There are no files here that an address could lead to.
  const inputReader = openInputReader(config, () => Promise.resolve(undefined));
  const open = (input: OrchestratorInput, generateOptions?: GenerateOptions): JobStream =>
    new JobStream(jobs, inputReader, input, generateOptions);
  return {
    ready: async () => {
      await jobs.modelLoaded();
    },
    generate: (input, generateOptions) => open(input, generateOptions).result(),
    stream: open,
    close: () => jobs.close(),
    [Symbol.asyncDispose]: () => jobs.close(),
  };
}

class JobStream implements InProcessStream {
  readonly #jobs: Jobs;
  readonly #inputReader: InputReader;
  readonly #input: OrchestratorInput;
  readonly #signal: AbortSignal | undefined;
  #job: Promise<Job> | undefined;
  #isRead = false;

  constructor(jobs: Jobs, inputReader: InputReader, input: OrchestratorInput, { signal }: GenerateOptions = {}) {
    this.#jobs = jobs;
    this.#inputReader = inputReader;
    this.#input = input;
    this.#signal = signal;
  }

  async result(): Promise<GeneratedResult> {
    for await (const { event } of (await this.#started()).follow()) if (isTerminal(event)) return resultOf(event);
    throw new LatentcastError("internal_error", { cause: "a job without an end" });
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<StreamEvent, void, undefined> {
    if (this.#isRead) throw new TypeError("a stream can be read once");
    this.#isRead = true;
    const job = await this.#started();
    try {
      for await (const { event } of job.follow()) {
        if (isTerminal(event)) {
          resultOf(event);
          return;
        }
        yield event.kind === "preview" ? { ...event, image: firstOf(event.images) } : event;
      }
    } finally {
      // Also reached by `break`; a job that has ended is left as it is.
      this.#jobs.cancel(job, "client_gone");
    }
  }

  #started(): Promise<Job> {
    return (this.#job ??= this.#start());
  }

  /** While a model is downloaded a server answers 503; here the job waits for it. */
  async #start(): Promise<Job> {
    const parsed = parseObject(generateInput, withAddresses(this.#input));
    if (!parsed.ok) throw invalidRequest(parsed.problems);
    const signal = this.#signal;
    const opened = await this.#inputReader.open(parsed.input, signal);
    if (signal?.aborted === true) {
      opened?.inputs.release();
      throw new LatentcastError("cancelled");
    }
    const { image_url: _image, mask_url: _mask, ...input } = parsed.input;
    // Kept: the events and the result may be asked for one after the other.
    const job = this.#jobs.submit({ input, inputs: opened?.inputs, warnings: parsed.warnings, keep: true });
    signal?.addEventListener("abort", () => this.#jobs.cancel(job, "cancelled_by_client"), { once: true });
    return job;
  }
}

function withAddresses(input: OrchestratorInput): object {
  const { image_url: image, mask_url: mask, ...plain } = input;
  return { ...plain, image_url: addressOf(image), mask_url: addressOf(mask) };
}

function addressOf(image: OrchestratorInput["image_url"]): string | null | undefined {
  if (!(image instanceof Uint8Array)) return image;
  return `data:application/octet-stream;base64,${Buffer.from(image).toString("base64")}`;
}

function resultOf(event: TerminalEvent): GeneratedResult {
  if (event.kind !== "succeeded") throw terminalError(event);
  return { image: firstOf(event.result.images), ...event.result };
}

function firstOf(images: readonly EncodedImage[]): EncodedImage {
  const [first] = images;
  if (first === undefined) throw new LatentcastError("internal_error", { cause: "no image" });
  return first;
}
