/** Between jobs and workers: hands jobs to workers, turns their reports into events of the job, requeues the jobs of a worker that died. */
import type { Logger } from "pino";
import { LatentcastError, toLatentcastError } from "../errors.ts";
import type { ReportFrames } from "../protocol/frames.ts";
import type { ReportOf } from "../protocol/messages.ts";
import type { WorkerPool } from "../worker/pool.ts";
import type { SlotState, WorkerInfo } from "../worker/slot-state.ts";
import type { WorkerListener } from "../worker/supervisor.ts";
import type { LongestPiece } from "../worker/watchdog.ts";
import type { Counters } from "./counters.ts";
import { waitingJobs, type Waiting } from "./estimates.ts";
import type { CancelReason, EncodedImage, TerminalEvent } from "./events.ts";
import type { Job } from "./job.ts";
import type { JobObserver } from "./observer.ts";
import type { Offer } from "./offer.ts";
import { JobQueue } from "./queue.ts";
import { isBeingFitted, toCommand, type JobRequest } from "./request.ts";
import { jobResult, toJobPreview, workerFailure } from "./result.ts";
import { ReadyWorkers } from "./ready-workers.ts";
import { UnfinishedJobs, type MissedDeadline } from "./unfinished-jobs.ts";
import type { HeldJob, WorkerLoad } from "./worker-load.ts";

/** What the dispatcher needs of the pool. */
export type Workers = Pick<WorkerPool, "send" | "kill">;

export interface DispatcherOptions {
  readonly log: Logger;
  readonly counters: Counters;
  readonly observers: readonly JobObserver[];
  /** What a submitted job becomes on this model. Throws `invalid_request`. */
  resolve(job: Job, worker: WorkerInfo): JobRequest;
  /** One RGB8 buffer per image to finished images. */
  finishImages(request: JobRequest, report: ReportOf<"result">, rgb: readonly Buffer[]): Promise<EncodedImage[]>;
  /** A slot has changed its state, or has lost its process; the dispatcher has dealt with it. */
  slotChanged(): void;
  isDraining(): boolean;
  /** The error of a job that could not start, or had no model, in time. */
  timeoutError(code: MissedDeadline): LatentcastError;
}

/** A job whose worker died this often ends; see {@link WorkerLoad.hasRoomFor} for why it is then surely the cause. */
const MAX_DEATHS = 2;

export class Dispatcher implements WorkerListener {
  readonly #pool: Workers;
  readonly #options: DispatcherOptions;
  readonly #queue = new JobQueue();
  readonly #workers = new ReadyWorkers();
  /** Every job that has not ended, with the timers that may end it. */
  readonly #unfinished = new UnfinishedJobs((job, code) => this.#fail(job, code));
  #loaded: WorkerInfo | undefined;

  constructor(pool: Workers, options: DispatcherOptions) {
    this.#pool = pool;
    this.#options = options;
  }

  /** The newest worker that became ready; undefined until the first has. */
  get loaded(): WorkerInfo | undefined {
    return this.#loaded;
  }

  /** Jobs that have not begun to be drawn, wherever they are, in the order in which they will. */
  get waiting(): Waiting[] {
    return waitingJobs(this.#workers.values(), this.#queue);
  }

  /** Images that all ready workers together put into their UNet calls. */
  get rows(): number {
    return [...this.#workers.values()].reduce((sum, { info }) => sum + info.capabilities.max_batch, 0);
  }

  get offer(): Offer {
    return { queued: this.#queue.size, devices: [...this.#workers.values()].map((worker) => worker.offer()) };
  }

  get unfinished(): number {
    return this.#unfinished.size;
  }

  jobsInFlight(slot: number): number {
    return this.#workers.get(slot)?.runs.size ?? 0;
  }

  /** Whether some worker would begin it at once. */
  wouldBegin(request: JobRequest): boolean {
    return this.#workers.wouldBegin(request);
  }

  /** Takes charge of a job that was accepted, until it ends. */
  add(job: Job): void {
    this.#unfinished.add(job);
    this.#observe((observer) => observer.accepted?.(job));
    this.#queue.add(job);
    this.#fitInputs(job);
    this.#assign();
  }

  /** Ends a job for its listeners at once and frees its worker at the next step boundary. False when it had ended already. */
  cancel(job: Job, reason: CancelReason): boolean {
    const hasEnded = this.#end(job, { kind: "cancelled", reason });
    if (hasEnded) this.#announcePositions();
    return hasEnded;
  }

  /** Resolves when no job is left. */
  drained(): Promise<void> {
    return this.#unfinished.empty();
  }

  /** Cancels everything; jobs of the queue are left for the next server. */
  abort(): void {
    for (const job of this.#unfinished.list()) this.#end(job, { kind: "cancelled", reason: "shutdown" });
  }

  /** No worker will start soon: waiting jobs fail instead of waiting for ever. */
  giveUp(reason: string): void {
    const error = new LatentcastError("worker_unavailable", { cause: reason });
    for (const job of this.#queue) this.#end(job, { kind: "failed", error });
  }

  changed(slot: number, state: SlotState): void {
    if (state.kind === "ready") {
      // Ready again: it holds other models now.
      const known = this.#workers.get(slot);
      if (known?.incarnation === state.incarnation) known.info = state.info;
      else this.#workers.add(slot, state.incarnation, state.info);
      this.#loaded = state.info;
      this.#resolvePending(state.info);
      this.#assign();
    }
    this.#options.slotChanged();
  }

  longestPiece(slot: number): LongestPiece | undefined {
    return this.#workers.get(slot)?.longestPiece();
  }

  report(slot: number, { report, payload }: ReportFrames): void {
    if (!("job_id" in report)) return;
    const worker = this.#workers.get(slot);
    const run = worker?.runs.get(report.job_id);
    if (worker === undefined || run === undefined || report.incarnation !== worker.incarnation) {
      this.#options.counters.stale += 1;
      return;
    }
    const { job } = run;
    switch (report.type) {
      case "started":
        run.isStarted = true;
        run.totalSteps = report.total_steps;
        job.start(performance.now(), report.total_steps);
        this.#observe((observer) => observer.started?.(job));
        this.#assign();
        return;
      case "progress":
        run.stepsDone = report.step + 1;
        worker.noteStep(run.request, report.step_seconds);
        this.#observe((observer) => observer.step?.(job, report.step_seconds));
        job.progress(report.step);
        return;
      case "preview":
        job.preview(toJobPreview(job.seed, report, payload), performance.now());
        this.#observe((observer) => observer.preview?.(job, report.preview_seconds));
        return;
      case "result":
        worker.noteDrawn(run.request);
        this.#release(worker, run);
        void this.#succeed(run, report, payload);
        return;
      case "failed":
        this.#release(worker, run);
        this.#options.log.warn({ jobId: job.id, code: report.code }, `job failed: ${report.message}`);
        this.#finish(job, { kind: "failed", error: workerFailure(report) });
        return;
      case "cancelled":
        this.#release(worker, run);
        this.#observe((observer) => observer.cancelled?.(job, report.device_seconds));
        // The worker cancelled a job that nobody cancelled: it must not stay without an end.
        this.#finish(job, { kind: "failed", error: new LatentcastError("internal_error", { cause: "unasked" }) });
        return;
    }
  }

  /** A worker process is gone. Its jobs go back to the head of the queue, with the same seed, once. */
  lost(slot: number, incarnation: number, reason: string): void {
    const worker = this.#workers.remove(slot, incarnation);
    if (worker === undefined) return;
    const returned: Job[] = [];
    for (const { job } of worker.runs.values()) {
      if (job.ended !== undefined) continue;
      // A service manager may stop every process of the unit at once: such a death says nothing about the job.
      if (!this.#options.isDraining()) job.deaths += 1;
      if (job.deaths < MAX_DEATHS) {
        job.requeue();
        returned.push(job);
      } else {
        this.#finish(job, { kind: "failed", error: new LatentcastError("worker_crashed", { cause: reason }) });
      }
    }
    this.#queue.giveBack(returned);
    this.#assign();
    this.#options.slotChanged();
  }

  #resolvePending(worker: WorkerInfo): void {
    for (const job of this.#queue) {
      if (job.state.kind !== "pending") continue;
      try {
        job.resolve(this.#options.resolve(job, worker));
        this.#fitInputs(job);
        this.#observe((observer) => observer.resolved?.(job));
      } catch (error) {
        this.#end(job, { kind: "failed", error: toLatentcastError(error) });
      }
    }
  }

  /** Input images are resized in other threads; the job is sent when that is done. */
  #fitInputs(job: Job): void {
    if (job.request?.inputs === undefined || job.request.inputs === null) return;
    job.request.inputs.fit(job.request.params).then(
      () => this.#assign(),
      (error: unknown) => {
        this.#end(job, { kind: "failed", error: new LatentcastError("internal_error", { cause: error }) });
      },
    );
  }

  #assign(): void {
    for (const job of this.#queue) {
      const { request } = job;
      if (request === undefined || isBeingFitted(request)) continue;
      const worker = this.#workers.nextFor(job, request);
      if (worker === undefined) continue;
      this.#queue.remove(job);
      worker.hold(job, request);
      this.#pool.send(worker.slot, toCommand(request, job.id, worker.incarnation)).catch((error: unknown) => {
        // The job comes back through `lost`.
        const message = `the worker could not be reached: ${String(error)}`;
        this.#pool.kill(worker.slot, { code: "unreachable", message, isPermanent: false });
      });
    }
    this.#announcePositions();
  }

  #announcePositions(): void {
    for (const [position, { job, startsInMs }] of this.waiting.entries()) job.queued(position, startsInMs);
  }

  #stopRun(job: Job): void {
    for (const { worker, run } of this.#workers.holdersOf(job)) {
      if (run.cancelling) continue;
      run.cancelling = true;
      const command = { type: "cancel", job_id: job.id, incarnation: worker.incarnation } as const;
      this.#pool.send(worker.slot, { command, payload: [] }).catch(() => undefined);
    }
  }

  async #succeed({ job, request }: HeldJob, report: ReportOf<"result">, rgb: readonly Buffer[]): Promise<void> {
    if (job.ended !== undefined) return;
    let images: EncodedImage[];
    try {
      images = await this.#options.finishImages(request, report, rgb);
    } catch (error) {
      this.#options.log.error({ jobId: job.id, err: error }, "the finished image could not be encoded");
      this.#finish(job, { kind: "failed", error: new LatentcastError("internal_error", { cause: error }) });
      return;
    }
    this.#finish(job, { kind: "succeeded", result: jobResult(job, request, report, images, performance.now()) });
  }

  #release(worker: WorkerLoad, run: HeldJob): void {
    worker.runs.delete(run.job.id);
    this.#observe((observer) => observer.released?.(run.job));
    this.#assign();
  }

  /** Ends a job before its worker does, wherever it is. */
  #end(job: Job, event: TerminalEvent): boolean {
    if (job.ended !== undefined) return false;
    this.#queue.remove(job);
    this.#finish(job, event);
    this.#stopRun(job);
    return true;
  }

  #finish(job: Job, event: TerminalEvent): void {
    if (!job.finish(event)) return;
    job.submission.inputs?.release();
    this.#observe((observer) => observer.finished?.(job, event));
    this.#unfinished.remove(job);
  }

  #fail(job: Job, code: MissedDeadline): void {
    this.#end(job, { kind: "failed", error: this.#options.timeoutError(code) });
    this.#announcePositions();
  }

  #observe(call: (observer: JobObserver) => void): void {
    for (const observer of this.#options.observers) call(observer);
  }
}
