/** The orchestrator for programs that want pictures without HTTP. */
import pino, { type Logger } from "pino";
import { withProcessDefaults, type Config, type Environment } from "./config.ts";
import { LatentcastError } from "./errors.ts";
import { loadEncoder } from "./images/encode.ts";
import { isTerminal, type JobResult, type Picture, type TerminalEvent } from "./jobs/events.ts";
import type { Job } from "./jobs/job.ts";
import { invalidRequest } from "./jobs/request.ts";
import type { Orchestrator } from "./jobs/service.ts";
import { startOrchestrator } from "./runtime.ts";
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
  /** The only picture, or the first of several. */
  readonly image: Picture;
  readonly images: readonly Picture[];
  readonly seed: number;
  readonly prompt: string;
  readonly timings: JobResult["timings"];
  readonly warnings: readonly string[];
}

export type StreamEvent =
  | { readonly kind: "queued"; readonly position: number; readonly estimateMs: number | null }
  | { readonly kind: "started" }
  | { readonly kind: "progress"; readonly step: number; readonly totalSteps: number }
  | {
      readonly kind: "preview";
      readonly step: number;
      readonly totalSteps: number;
      readonly image: Picture;
      readonly images: readonly Picture[];
    };

export interface InProcessStream extends AsyncIterable<StreamEvent> {
  /** Resolves with the finished pictures, or rejects with the error that ended the job. */
  result(): Promise<GeneratedResult>;
}

export interface InProcessOrchestrator {
  /** Resolves when a picture could be made at once. */
  ready(): Promise<void>;
  /** Rejects with a {@link LatentcastError}. */
  generate(input: GenerateInput, options?: GenerateOptions): Promise<GeneratedResult>;
  /** Starts with the first read; leaving the loop before the end cancels the job. */
  stream(input: GenerateInput, options?: GenerateOptions): InProcessStream;
  /** Cancels what runs and stops the workers. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** A day: loading is bounded by the worker's own start timeout, which ends the wait with the better error. */
const READY_TIMEOUT_MS = 24 * 3_600_000;

export async function createOrchestrator(options: CreateOrchestratorOptions = {}): Promise<InProcessOrchestrator> {
  const { config, env } = withProcessDefaults(options);
  const log = options.log ?? pino({ level: "silent" });
  await loadEncoder();
  const orchestrator = await startOrchestrator({ config, env, log });
  return {
    ready: async () => {
      await orchestrator.modelLoaded(READY_TIMEOUT_MS);
    },
    generate: (input, generateOptions) => new JobStream(orchestrator, input, generateOptions).result(),
    stream: (input, generateOptions) => new JobStream(orchestrator, input, generateOptions),
    close: () => orchestrator.close(),
    [Symbol.asyncDispose]: () => orchestrator.close(),
  };
}

class JobStream implements InProcessStream {
  readonly #orchestrator: Orchestrator;
  readonly #input: GenerateInput;
  readonly #signal: AbortSignal | undefined;
  #job: Promise<Job> | undefined;
  #isRead = false;

  constructor(orchestrator: Orchestrator, input: GenerateInput, options: GenerateOptions = {}) {
    this.#orchestrator = orchestrator;
    this.#input = input;
    this.#signal = options.signal;
  }

  async result(): Promise<GeneratedResult> {
    const job = await this.#started();
    for await (const event of job.listen()) if (isTerminal(event)) return outcome(event);
    throw new LatentcastError("cancelled");
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<StreamEvent, void, undefined> {
    if (this.#isRead) throw new TypeError("a stream can be read once");
    this.#isRead = true;
    const job = await this.#started();
    try {
      for await (const event of job.listen()) {
        if (isTerminal(event)) {
          outcome(event);
          return;
        }
        if (event.kind !== "preview") {
          yield event;
          continue;
        }
        const { step, totalSteps, pictures } = event;
        yield { kind: "preview", step, totalSteps, image: firstOf(pictures), images: pictures };
      }
    } finally {
      // Also reached by `break`; a job that has ended is left as it is.
      this.#orchestrator.dispatcher.cancel(job, "client_gone");
    }
  }

  #started(): Promise<Job> {
    this.#job ??= this.#start();
    return this.#job;
  }

  async #start(): Promise<Job> {
    const parsed = parseObject(generateInput, this.#input);
    if (!parsed.ok) throw invalidRequest(parsed.problems);
    const signal = this.#signal;
    if (signal?.aborted === true) throw new LatentcastError("cancelled");
    // A server tells its clients to come back while a model is downloaded; here there is nobody else to wait.
    await this.#orchestrator.modelLoaded(READY_TIMEOUT_MS, signal);
    const job = await this.#orchestrator.submit(parsed.input, {
      warnings: parsed.warnings,
      // Kept: the events and the result may be asked for one after the other.
      keep: true,
      ...(signal === undefined ? {} : { signal }),
    });
    const cancel = (): void => {
      this.#orchestrator.dispatcher.cancel(job, "cancelled_by_client");
    };
    signal?.addEventListener("abort", cancel, { once: true });
    // It may have been aborted while the job was being accepted, which the check above has the compiler rule out.
    if (AbortSignal.any(signal === undefined ? [] : [signal]).aborted) cancel();
    return job;
  }
}

function outcome(event: TerminalEvent): GeneratedResult {
  if (event.kind === "failed") throw event.error;
  if (event.kind === "cancelled") throw new LatentcastError("cancelled");
  const { pictures, seed, prompt, timings, warnings } = event.result;
  return { image: firstOf(pictures), images: pictures, seed, prompt, timings, warnings };
}

function firstOf(pictures: readonly Picture[]): Picture {
  const [first] = pictures;
  if (first === undefined) throw new LatentcastError("internal_error", { cause: "no picture" });
  return first;
}
