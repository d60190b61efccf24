/** The engine room in one object: workers, queue, dispatcher. What HTTP serves, and what in-process users call. */
import type { Logger } from "pino";
import type { Config } from "../config.ts";
import { LatentcastError } from "../errors.ts";
import { describePicture } from "../images/description.ts";
import { encodePicture, CONTENT_TYPES } from "../images/encode.ts";
import { Dispatcher, type SubmitOptions } from "./dispatcher.ts";
import type { Picture } from "./events.ts";
import type { Job } from "./job.ts";
import type { JobObserver } from "./observer.ts";
import { imageSeed } from "./outcome.ts";
import { resolveRequest, type JobRequest } from "./request.ts";
import { Tally } from "./tally.ts";
import { deriveStatus, type ServiceStatus } from "./status.ts";
import type { ModelInfo, ReportOf } from "../protocol/messages.ts";
import type { ParsedInput } from "../schema/input.ts";
import { WorkerPool, type PoolOptions } from "../worker/pool.ts";
import type { SlotState } from "../worker/slot-state.ts";

export interface OrchestratorOptions {
  readonly config: Config;
  readonly log: Logger;
  /** Who else counts what happens to jobs. */
  readonly observers?: readonly JobObserver[];
  /** How many workers there are, and how each is started. */
  readonly slots: number;
  readonly launch: PoolOptions["launch"];
}

export interface SubmitExtras extends SubmitOptions {
  readonly warnings?: readonly string[];
  readonly traceparent?: string | null;
  /** Adapts what was asked to the model, once one is loaded. */
  readonly fit?: (input: ParsedInput, model: ModelInfo) => Fitted;
  /** How long to wait for the model to load. */
  readonly modelWaitMs?: number;
  /** Stops waiting for the model to load. */
  readonly signal?: AbortSignal;
}

export interface Fitted {
  readonly input: ParsedInput;
  readonly warnings: readonly string[];
}

/**
 * A request that comes while the model loads waits this long for it before it is answered `worker_unavailable`. Loading SDXL from
 * a local disk takes 10 to 40 s; a download takes minutes, and no client waits that long for its first byte.
 */
const MODEL_WAIT_MS = 60_000;
const STOP_GRACE_MS = 5_000;

export class Orchestrator {
  readonly tally: Tally;
  readonly #config: Config;
  readonly #dispatcher: Dispatcher;
  readonly #pool: WorkerPool;
  #model: ModelInfo | undefined;
  #isDraining = false;
  readonly #changed = new Set<() => void>();

  private constructor(config: Config, dispatcher: Dispatcher, pool: WorkerPool, tally: Tally) {
    this.tally = tally;
    this.#config = config;
    this.#dispatcher = dispatcher;
    this.#pool = pool;
  }

  /** Starts the workers. Resolves before any of them is ready. */
  static async start({ config, log, observers = [], slots, launch }: OrchestratorOptions): Promise<Orchestrator> {
    const tally = new Tally();
    let orchestrator: Orchestrator | undefined;
    let pool: WorkerPool | undefined;
    const dispatcher = new Dispatcher(
      {
        send: (slot, command) => pool?.send(slot, command) ?? Promise.reject(new Error("the pool is not open yet")),
        kill: (slot, reason) => pool?.kill(slot, reason),
        finishPictures: (request, result, rgb) =>
          finishPictures(request, result, rgb, config.metadata ? modelId() : null),
      },
      { queueLimit: config.queueLimit, log, observers: [tally, ...observers] },
    );
    const modelId = (): string => orchestrator?.model?.id ?? "";
    pool = await WorkerPool.open(
      {
        slots,
        launch,
        log,
        settings: {
          startTimeoutMs: config.startTimeoutMs,
          stallTimeoutMs: config.stallTimeoutMs,
          stopGraceMs: STOP_GRACE_MS,
        },
      },
      {
        changed: (slot, state) => {
          if (orchestrator !== undefined) orchestrator.#slotChanged(slot, state);
        },
        report: (slot, _epoch, frames) => dispatcher.report(slot, frames),
        lost: (slot, epoch, reason) => dispatcher.lost(slot, epoch, reason),
        jobsInFlight: (slot) => dispatcher.jobsInFlight(slot),
      },
    );
    orchestrator = new Orchestrator(config, dispatcher, pool, tally);
    return orchestrator;
  }

  get status(): ServiceStatus {
    return deriveStatus({
      slots: this.#pool.slots.map(({ state }) => state),
      waiting: this.#dispatcher.waiting,
      isDraining: this.#isDraining,
    });
  }

  /** What the newest worker that became ready has loaded; undefined until the first has. */
  get model(): ModelInfo | undefined {
    return this.#model;
  }

  get pool(): WorkerPool {
    return this.#pool;
  }

  get dispatcher(): Dispatcher {
    return this.#dispatcher;
  }

  /**
   * Accepts a request, after the model has loaded. Rejects with `invalid_request`, `queue_full`, `draining`, or
   * `worker_unavailable` when no worker comes up, `request_timeout` when it could not start in time.
   */
  async submit(input: ParsedInput, extras: SubmitExtras = {}): Promise<Job> {
    const startByMs = performance.now() + (extras.startTimeoutMs ?? Number.POSITIVE_INFINITY);
    const model = await this.#modelBefore(startByMs, extras);
    const request = this.resolve(input, model, extras);
    if (this.status.kind === "failed") throw this.#unavailable();
    return this.#dispatcher.submit(request, {
      ...extras,
      ...(extras.startTimeoutMs === undefined ? {} : { startTimeoutMs: Math.max(0, startByMs - performance.now()) }),
    });
  }

  /** What `input` becomes on this model. Throws `invalid_request` naming the fields that it cannot serve. */
  resolve(input: ParsedInput, model: ModelInfo, extras: SubmitExtras = {}): JobRequest {
    const fitted = extras.fit?.(input, model) ?? { input, warnings: [] };
    const warnings = [...(extras.warnings ?? []), ...fitted.warnings];
    const { traceparent = null } = extras;
    return resolveRequest(fitted.input, model, { maxPixels: this.#config.maxPixels }, { warnings, traceparent });
  }

  async #modelBefore(startByMs: number, { modelWaitMs = MODEL_WAIT_MS, signal }: SubmitExtras): Promise<ModelInfo> {
    const patienceMs = Math.min(modelWaitMs, Math.max(0, Math.ceil(startByMs - performance.now())));
    try {
      return await this.modelLoaded(patienceMs, signal);
    } catch (error) {
      // Timers may fire a fraction of a millisecond early.
      if (performance.now() + 1 >= startByMs) throw new LatentcastError("request_timeout", { cause: error });
      throw error;
    }
  }

  /** Resolves when the first worker is ready; rejects with `worker_unavailable` when that cannot be awaited any longer. */
  async modelLoaded(timeoutMs: number, signal?: AbortSignal): Promise<ModelInfo> {
    const deadline = AbortSignal.timeout(timeoutMs);
    const stop = signal === undefined ? deadline : AbortSignal.any([deadline, signal]);
    while (this.#model === undefined) {
      if (this.#isDraining) throw new LatentcastError("draining");
      if (this.status.kind === "failed" || deadline.aborted) throw this.#unavailable();
      if (signal?.aborted === true) throw new LatentcastError("cancelled");
      await this.#nextChange(stop);
    }
    return this.#model;
  }

  /** Refuses new jobs, waits for the accepted ones (at most `timeoutMs`), then stops the workers. */
  async drain(timeoutMs: number): Promise<void> {
    this.#isDraining = true;
    this.#announce();
    await this.#dispatcher.drain(timeoutMs);
    await this.#pool.stop();
  }

  /** Cancels everything and stops the workers; a second call kills those that linger. */
  async close(): Promise<void> {
    this.#isDraining = true;
    this.#announce();
    this.#dispatcher.abort();
    await this.#pool.stop();
  }

  #slotChanged(slot: number, state: SlotState): void {
    if (state.kind === "ready") this.#model = state.info.model;
    this.#dispatcher.changed(slot, state);
    const { status } = this;
    if (status.kind === "failed") this.#dispatcher.giveUp(status.reason);
    this.#announce();
  }

  #unavailable(): LatentcastError {
    const { status } = this;
    const message =
      status.kind === "loading" ? `The model is still loading (${status.loading.stage}); try again later.` : undefined;
    return new LatentcastError("worker_unavailable", {
      retryAfterSeconds: 10,
      ...(message === undefined ? {} : { message }),
    });
  }

  #nextChange(stop: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#changed.delete(done);
        stop.removeEventListener("abort", done);
        resolve();
      };
      this.#changed.add(done);
      stop.addEventListener("abort", done);
      if (stop.aborted) done();
    });
  }

  #announce(): void {
    for (const notify of [...this.#changed]) notify();
  }
}

async function finishPictures(
  request: JobRequest,
  result: ReportOf<"result">,
  rgb: readonly Buffer[],
  modelId: string | null,
): Promise<Picture[]> {
  return Promise.all(
    result.images.map(async ({ width, height }, index) => {
      const seed = imageSeed(request.seed, index);
      const description = modelId === null ? null : describePicture(request, seed, modelId);
      const raw = { rgb: rgb[index] ?? Buffer.alloc(0), width, height };
      const bytes = await encodePicture(raw, request.outputFormat, description);
      return { bytes, contentType: CONTENT_TYPES[request.outputFormat], width, height, seed };
    }),
  );
}
