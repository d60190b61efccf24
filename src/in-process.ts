/** The orchestrator for programs that want images without HTTP. */
import pino, { type Logger } from "pino";
import { withProcessDefaults, type Config, type Environment } from "./config.ts";
import { LatentcastError } from "./errors.ts";
import { loadEncoder } from "./images/encode.ts";
import { endingError, isTerminal, type EncodedImage, type JobResult, type TerminalEvent } from "./jobs/events.ts";
import type { Job } from "./jobs/job.ts";
import { invalidRequest } from "./jobs/request.ts";
import type { JobService } from "./jobs/service.ts";
import { startJobs } from "./runtime.ts";
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
  generate(input: GenerateInput, options?: GenerateOptions): Promise<GeneratedResult>;
  /** Starts with the first read; leaving the loop before the end cancels the job. */
  stream(input: GenerateInput, options?: GenerateOptions): InProcessStream;
  /** Cancels what runs and stops the workers. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export async function createOrchestrator(options: CreateOrchestratorOptions = {}): Promise<InProcessOrchestrator> {
  const { config, env } = withProcessDefaults(options);
  const log = options.log ?? pino({ level: "silent" });
  await loadEncoder();
  const jobs = await startJobs({ config, env, log });
  return {
    ready: async () => {
      await jobs.modelLoaded();
    },
    generate: (input, generateOptions) => new JobStream(jobs, input, generateOptions).result(),
    stream: (input, generateOptions) => new JobStream(jobs, input, generateOptions),
    close: () => jobs.close(),
    [Symbol.asyncDispose]: () => jobs.close(),
  };
}

class JobStream implements InProcessStream {
  readonly #jobs: JobService;
  readonly #input: GenerateInput;
  readonly #signal: AbortSignal | undefined;
  #job: Job | undefined;
  #isRead = false;

  constructor(jobs: JobService, input: GenerateInput, { signal }: GenerateOptions = {}) {
    this.#jobs = jobs;
    this.#input = input;
    this.#signal = signal;
  }

  async result(): Promise<GeneratedResult> {
    for await (const { event } of this.#started().follow()) if (isTerminal(event)) return resultOf(event);
    throw new LatentcastError("internal_error", { cause: "a job without an ending" });
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<StreamEvent, void, undefined> {
    if (this.#isRead) throw new TypeError("a stream can be read once");
    this.#isRead = true;
    const job = this.#started();
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

  #started(): Job {
    return (this.#job ??= this.#start());
  }

  /** A server tells its clients to come back while a model is downloaded; here the job waits for it. */
  #start(): Job {
    const parsed = parseObject(generateInput, this.#input);
    if (!parsed.ok) throw invalidRequest(parsed.problems);
    const signal = this.#signal;
    if (signal?.aborted === true) throw new LatentcastError("cancelled");
    // Kept: the events and the result may be asked for one after the other.
    const job = this.#jobs.submit({ input: parsed.input, warnings: parsed.warnings, keep: true });
    signal?.addEventListener("abort", () => this.#jobs.cancel(job, "cancelled_by_client"), { once: true });
    return job;
  }
}

function resultOf(event: TerminalEvent): GeneratedResult {
  if (event.kind !== "succeeded") throw endingError(event);
  return { image: firstOf(event.result.images), ...event.result };
}

function firstOf(images: readonly EncodedImage[]): EncodedImage {
  const [first] = images;
  if (first === undefined) throw new LatentcastError("internal_error", { cause: "no image" });
  return first;
}
