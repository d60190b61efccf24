/** The jobs of this machine: drawn by workers that this process starts. */
import type { Logger } from "pino";
import { Changes } from "../async/changes.ts";
import { after } from "../async/timer.ts";
import type { Config } from "../config.ts";
import { LatentcastError } from "../errors.ts";
import type { ModelInfo } from "../protocol/messages.ts";
import { WorkerPool, type PoolOptions } from "../worker/pool.ts";
import type { WorkerInfo } from "../worker/slot-state.ts";
import type { Admission } from "./admission.ts";
import { Counters } from "./counters.ts";
import { Entrance } from "./entrance.ts";
import { Dispatcher } from "./dispatcher.ts";
import type { CancelReason } from "./events.ts";
import { Job } from "./job.ts";
import type { AdmitOptions, Jobs } from "./jobs.ts";
import type { JobObserver } from "./observer.ts";
import type { JobRequest } from "./request.ts";
import { resolveSubmission } from "./resolve.ts";
import { finishImages } from "./result.ts";
import type { Offer } from "./offer.ts";
import { takeSnapshot } from "./snapshot.ts";
import type { ServiceSnapshot } from "../schema/health.ts";
import { generateInput } from "../schema/input.ts";
import { deriveStatus, type Phase, type ServiceStatus } from "./status.ts";
import type { Priority, Submission } from "./submission.ts";

export interface JobServiceOptions {
  readonly config: Pick<
    Config,
    "queueLimit" | "maxPixels" | "metadata" | "shortcuts" | "startTimeoutMs" | "stallTimeoutMs"
  >;
  readonly version: string;
  readonly log: Logger;
  /** Who else counts what happens to jobs. */
  readonly observers?: readonly JobObserver[];
  /** How many workers there are, and how each is started. */
  readonly workers: Pick<PoolOptions, "slots" | "launch" | "open" | "spawn">;
}

/** A job whose request has been made elsewhere. */
export interface ResolvedJob {
  readonly id: string;
  readonly request: JobRequest;
  readonly priority: Priority;
  /** Workers that died with it; from one on it runs alone. */
  readonly deaths: number;
}

const STOP_GRACE_MS = 5_000;
/** All workers of a machine draw whatever comes. */
const OWN_POOL = "own";

export class JobService implements Jobs {
  readonly #options: JobServiceOptions;
  readonly #pool: WorkerPool;
  readonly #counters: Counters;
  readonly #dispatcher: Dispatcher;
  readonly #changes = new Changes();
  #phase: Phase = "open";
  readonly #entrance = new Entrance({
    phase: () => this.#phase,
    cancel: (job, reason) => this.cancel(job, reason),
    check: (job) => {
      const { loaded } = this.#dispatcher;
      if (loaded !== undefined) job.resolve(this.#resolve(job.submission, loaded));
    },
    add: (job) => this.#dispatcher.add(job),
  });

  private constructor(options: JobServiceOptions, pool: WorkerPool, counters: Counters) {
    const { config, log, observers = [] } = options;
    this.#options = options;
    this.#pool = pool;
    this.#counters = counters;
    this.#dispatcher = new Dispatcher(pool, {
      log,
      counters,
      observers: [counters, ...observers],
      resolve: (job, worker) => this.#resolve(job.submission, worker),
      finishImages: (request, report, rgb) =>
        finishImages(request, report, rgb, config.metadata ? (request.params.model ?? "") : null),
      slotChanged: () => this.#slotChanged(),
      isDraining: () => this.#phase !== "open",
      timeoutError: (code) =>
        code === "worker_unavailable" ? this.#unavailable() : new LatentcastError("request_timeout"),
    });
  }

  /** Starts the workers. Resolves before any of them is ready. */
  static async start(options: JobServiceOptions): Promise<JobService> {
    const { config, log, workers } = options;
    const counters = new Counters();
    const { startTimeoutMs, stallTimeoutMs } = config;
    const settings = { startTimeoutMs, stallTimeoutMs, stopGraceMs: STOP_GRACE_MS };
    const pool = await WorkerPool.open({ ...workers, log, counters, settings });
    const service = new JobService(options, pool, counters);
    pool.start(service.#dispatcher);
    return service;
  }

  /** What the newest worker that became ready has loaded; undefined until the first has. */
  get model(): ModelInfo | undefined {
    return this.#dispatcher.loaded?.model;
  }

  /** Everything about the newest worker that became ready. */
  get loaded(): WorkerInfo | undefined {
    return this.#dispatcher.loaded;
  }

  get models(): readonly ModelInfo[] {
    return this.#dispatcher.loaded?.choice.models.map(({ model }) => model) ?? [];
  }

  poolOf(): string {
    return OWN_POOL;
  }

  imagesAtOnce(): number {
    return Math.max(1, this.#dispatcher.rows);
  }

  get phase(): Phase {
    return this.#phase;
  }

  get waiting(): number {
    return this.#dispatcher.waiting.length + this.#entrance.promised;
  }

  /** What the workers that are ready hold, and how soon each would show one more job. */
  get offer(): Offer {
    return this.#dispatcher.offer;
  }

  admit(
    submission: Submission,
    { maxWaiting = Number.POSITIVE_INFINITY, isKnown = false }: AdmitOptions = {},
  ): Admission {
    this.#entrance.checkOpen();
    if (this.#status.kind === "failed") throw this.#unavailable();
    const { waiting } = this;
    const isFull = waiting >= this.#options.config.queueLimit && !(waiting === 0 && this.#wouldBegin(submission));
    if (!isKnown && (isFull || waiting > maxWaiting))
      throw new LatentcastError("queue_full", { retryAfterSeconds: this.#retryAfterSeconds() });
    return this.#entrance.promise(OWN_POOL);
  }

  submit(submission: Submission, admission = this.admit(submission)): Job {
    return this.#entrance.enter(submission, admission);
  }

  /** Runs a job as another process has accepted and resolved it, for the model that is loaded here. Throws `draining`. */
  run({ id, request, priority, deaths }: ResolvedJob): Job {
    this.#entrance.checkOpen();
    const { prompt, seed } = request.params;
    // Its request is resolved: of the input only these two are read from now on.
    const input = { ...generateInput.parse({ prompt: "-" }), prompt, seed };
    const submission = { id, input, inputs: request.inputs ?? undefined, priority, keep: true, deaths };
    const job = new Job({ ...submission, traceparent: request.traceparent }, performance.now(), () => undefined);
    job.resolve(request);
    this.#dispatcher.add(job);
    return job;
  }

  cancel(job: Job, reason: CancelReason): boolean {
    return this.#dispatcher.cancel(job, reason);
  }

  /** Resolves when the first worker is ready; rejects with `worker_unavailable`, `draining`, or `cancelled` by the signal. */
  async modelLoaded(signal?: AbortSignal): Promise<ModelInfo> {
    while (this.model === undefined) {
      if (this.#phase !== "open") throw new LatentcastError("draining");
      if (this.#status.kind === "failed") throw this.#unavailable();
      if (signal?.aborted === true) throw new LatentcastError("cancelled");
      await this.#changes.next(signal);
    }
    return this.model;
  }

  /**
   * Refuses new jobs, waits for those that a worker can still draw, at most `timeoutMs`, then stops the workers. A worker that dies now
   * is not replaced; what none is left for ends with `shutdown`.
   */
  async drain(timeoutMs: number): Promise<void> {
    this.#enter("draining");
    this.#pool.retire();
    this.#slotChanged();
    const timer = after(timeoutMs, () => this.#dispatcher.abort());
    await this.#dispatcher.drained();
    timer.cancel();
    await this.#pool.stop();
    this.#enter("closed");
  }

  /** Cancels everything and stops the workers; a second call kills those that linger. */
  async close(): Promise<void> {
    this.#enter("closed");
    this.#dispatcher.abort();
    await this.#pool.stop();
  }

  snapshot(): ServiceSnapshot {
    return takeSnapshot({
      status: this.#status,
      version: this.#options.version,
      shortcuts: this.#options.config.shortcuts,
      model: this.model,
      waiting: this.waiting,
      unfinished: this.#dispatcher.unfinished,
      slots: this.#pool.slots,
      jobsInFlight: (slot) => this.#dispatcher.jobsInFlight(slot),
      counters: this.#counters,
    });
  }

  get #status(): ServiceStatus {
    const slots = this.#pool.slots.map(({ state }) => state);
    return deriveStatus({ slots, waiting: this.waiting, phase: this.#phase });
  }

  #enter(phase: Phase): void {
    this.#phase = phase;
    this.#changes.announce();
  }

  #slotChanged(): void {
    const status = this.#status;
    if (status.kind === "failed") this.#dispatcher.giveUp(status.reason);
    const isDeserted = !this.#pool.slots.some(({ state }) => state.kind === "ready");
    if (this.#phase === "draining" && isDeserted) this.#dispatcher.abort();
    this.#changes.announce();
  }

  #resolve(submission: Submission, worker: Pick<WorkerInfo, "choice">): JobRequest {
    return resolveSubmission(submission, worker.choice, this.#options.config);
  }

  #wouldBegin(submission: Submission): boolean {
    const { loaded } = this.#dispatcher;
    if (loaded === undefined) return false;
    try {
      return this.#dispatcher.wouldBegin(this.#resolve(submission, loaded));
    } catch {
      // Submitting it says what is wrong.
      return true;
    }
  }

  #unavailable(): LatentcastError {
    const status = this.#status;
    const message =
      status.kind === "loading" ? `The model is still loading (${status.loading.stage}); try again later.` : undefined;
    return new LatentcastError("worker_unavailable", {
      retryAfterSeconds: 10,
      ...(message === undefined ? {} : { message }),
    });
  }

  /** When a place in the queue should be free: when the next job begins, at least a second. */
  #retryAfterSeconds(): number {
    const startsInMs = this.#dispatcher.waiting[0]?.startsInMs ?? 1_000;
    return Math.max(1, Math.ceil(startsInMs / 1_000));
  }
}
