/** Between requests and workers: admits jobs, hands them to workers, turns reports into events, and takes jobs back from the dead. */
import { randomUUID } from "node:crypto";
import type { Logger } from "pino";
import { LatentcastError } from "../errors.ts";
import type { ReportFrames } from "../protocol/frames.ts";
import type { Command, ReportOf } from "../protocol/messages.ts";
import type { SlotState } from "../worker/slot-state.ts";
import type { CancelReason, Picture } from "./events.ts";
import { Job, type Priority } from "./job.ts";
import type { JobObserver } from "./observer.ts";
import { jobResult, previewEvent, workerFailure } from "./outcome.ts";
import { JobQueue } from "./queue.ts";
import { toCommand, type JobRequest } from "./request.ts";
import { soonestWorker, startEstimatesMs, WorkerLoad, type Run } from "./worker-load.ts";

export interface DispatcherPorts {
  /** Rejects when the worker is gone; its `lost` follows. */
  send(slot: number, command: Command): Promise<void>;
  /** Replaces a worker that broke the protocol. */
  kill(slot: number, reason: string): void;
  /** One RGB8 buffer per image to finished pictures. */
  finishPictures(request: JobRequest, result: ReportOf<"result">, rgb: readonly Buffer[]): Promise<Picture[]>;
}

export interface DispatcherOptions {
  readonly queueLimit: number;
  readonly log: Logger;
  readonly observers: readonly JobObserver[];
}

export interface SubmitOptions {
  /** Made when absent. */
  readonly id?: string;
  readonly priority?: Priority;
  /** Go on when nobody listens. */
  readonly keep?: boolean;
  /** Fails with `request_timeout` unless it has started by then. */
  readonly startTimeoutMs?: number;
  /** It was let in by {@link Dispatcher.admit} before; the limit is not applied again. */
  readonly isAdmitted?: boolean;
}

/** A job whose worker died this often ends; see {@link WorkerLoad.hasRoomFor} for why it is then surely the cause. */
const MAX_DEATHS = 2;

export class Dispatcher {
  /** Reports about jobs that the worker does not hold: late, duplicate or made up. */
  stale = 0;
  readonly #ports: DispatcherPorts;
  readonly #log: Logger;
  readonly #observers: readonly JobObserver[];
  readonly #queue: JobQueue;
  readonly #workers = new Map<number, WorkerLoad>();
  readonly #unfinished = new Set<Job>();
  #idle: (() => void) | undefined;
  #closed: LatentcastError | undefined;

  constructor(ports: DispatcherPorts, options: DispatcherOptions) {
    this.#ports = ports;
    this.#log = options.log;
    this.#observers = options.observers;
    this.#queue = new JobQueue(options.queueLimit);
  }

  get waiting(): number {
    return this.#queue.size;
  }

  get unfinished(): number {
    return this.#unfinished.size;
  }

  jobsInFlight(slot: number): number {
    return this.#workers.get(slot)?.runs.size ?? 0;
  }

  /** Accepts a job, or throws `queue_full`, `worker_unavailable` or `draining`. */
  submit(request: JobRequest, options: SubmitOptions = {}): Job {
    if (this.#closed !== undefined) throw this.#closed;
    if (options.isAdmitted !== true) this.admit(request);
    const { id = randomUUID(), priority = "normal", keep = false, startTimeoutMs } = options;
    const job = new Job({ id, request, priority, keep }, performance.now(), (abandoned) => {
      this.cancel(abandoned, "client_gone");
    });
    this.#unfinished.add(job);
    for (const observer of this.#observers) observer.accepted?.(job);
    this.#queue.add(job);
    if (startTimeoutMs !== undefined) this.#failUnlessStarted(job, startTimeoutMs);
    this.#assign();
    return job;
  }

  /**
   * Throws what `submit` would throw if `reserved` more jobs were waiting.
   * @param request Undefined while no model has said what it would become.
   */
  admit(request: JobRequest | undefined, reserved = 0): void {
    if (this.#closed !== undefined) throw this.#closed;
    if (!this.#queue.isFull(reserved)) return;
    const hasRoom =
      request !== undefined && soonestWorker(this.#workers.values(), { request, deaths: 0 }) !== undefined;
    if (!hasRoom || reserved > 0)
      throw new LatentcastError("queue_full", { retryAfterSeconds: this.#retryAfterSeconds() });
  }

  /** Ends a job for its listeners at once and frees its worker at the next step boundary. False when it had ended already. */
  cancel(job: Job, reason: CancelReason): boolean {
    if (job.ended !== undefined) return false;
    this.#queue.remove(job);
    this.#finish(job, { kind: "cancelled", reason });
    this.#stopRun(job);
    this.#announcePositions();
    return true;
  }

  /** No job is accepted from now on. Resolves when the last one has ended; those still there at `timeoutMs` are cancelled. */
  async drain(timeoutMs: number): Promise<void> {
    this.#closed = new LatentcastError("draining", { retryAfterSeconds: 1 });
    if (this.#unfinished.size === 0) return;
    const timer = setTimeout(() => this.abort(), timeoutMs);
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
    });
    clearTimeout(timer);
  }

  /** Cancels everything. */
  abort(): void {
    this.#closed ??= new LatentcastError("draining", { retryAfterSeconds: 1 });
    for (const job of [...this.#unfinished]) this.cancel(job, "shutdown");
  }

  /** A slot became ready, or stopped being so. */
  changed(slot: number, state: SlotState): void {
    if (state.kind !== "ready") return;
    this.#workers.set(slot, new WorkerLoad(slot, state.epoch, state.info));
    this.#assign();
  }

  /** No worker will come back by itself soon: what waits is told instead of kept waiting. */
  giveUp(reason: string): void {
    for (const job of [...this.#queue]) {
      this.#queue.remove(job);
      this.#finish(job, { kind: "failed", error: new LatentcastError("worker_unavailable", { cause: reason }) });
    }
  }

  report(slot: number, { report, payload }: ReportFrames): void {
    if (!("job_id" in report)) return;
    const worker = this.#workers.get(slot);
    const run = worker?.runs.get(report.job_id);
    if (worker === undefined || run === undefined || report.epoch !== worker.epoch) {
      this.stale += 1;
      return;
    }
    const { job } = run;
    const now = performance.now();
    switch (report.type) {
      case "started":
        job.start(now);
        for (const observer of this.#observers) observer.started?.(job);
        return;
      case "progress":
        run.stepsDone = report.step + 1;
        worker.noteStep(job, report.step_seconds);
        for (const observer of this.#observers) observer.step?.(job, report.step_seconds);
        job.progress(report.step);
        return;
      case "preview":
        this.#preview(run, report, payload, now);
        return;
      case "result":
        this.#release(worker, run);
        void this.#succeed(job, report, payload);
        return;
      case "failed":
        this.#release(worker, run);
        this.#log.warn({ jobId: job.id, code: report.code }, `job failed: ${report.message}`);
        this.#finish(job, { kind: "failed", error: workerFailure(report) });
        return;
      case "cancelled":
        this.#release(worker, run);
        for (const observer of this.#observers) observer.cancelled?.(job, report.device_seconds);
        // A worker cancels only what it was told to; anything else must not leave the job without an ending.
        this.#finish(job, {
          kind: "failed",
          error: new LatentcastError("internal_error", { cause: "cancelled unasked" }),
        });
        return;
    }
  }

  /** A worker process is gone. Its jobs go back to the head of the queue, with the same seed, once. */
  lost(slot: number, epoch: number, reason: string): void {
    const worker = this.#workers.get(slot);
    if (worker === undefined || worker.epoch !== epoch) return;
    this.#workers.delete(slot);
    const returned: Job[] = [];
    for (const { job } of worker.runs.values()) {
      if (job.ended !== undefined) continue;
      job.deaths += 1;
      if (job.deaths < MAX_DEATHS && this.#closed === undefined) {
        job.requeue();
        returned.push(job);
      } else {
        this.#finish(job, { kind: "failed", error: new LatentcastError("worker_crashed", { cause: reason }) });
      }
    }
    this.#queue.giveBack(returned);
    this.#assign();
  }

  #assign(): void {
    for (const job of this.#queue) {
      const worker = soonestWorker(this.#workers.values(), job);
      if (worker === undefined) continue;
      this.#queue.remove(job);
      worker.runs.set(job.id, { job, stepsDone: 0, cancelling: false });
      this.#ports.send(worker.slot, toCommand(job.request, job.id, worker.epoch)).catch((error: unknown) => {
        // Unreachable though it looked ready: replacing it brings the job back through `lost`.
        this.#ports.kill(worker.slot, `could not be reached: ${String(error)}`);
      });
    }
    this.#announcePositions();
  }

  #announcePositions(): void {
    const jobs = [...this.#queue];
    const estimates = startEstimatesMs([...this.#workers.values()], jobs);
    for (const [position, job] of jobs.entries()) job.queued(position, estimates[position] ?? null);
  }

  #stopRun(job: Job): void {
    for (const worker of this.#workers.values()) {
      const run = worker.runs.get(job.id);
      if (run === undefined || run.cancelling) continue;
      run.cancelling = true;
      this.#ports.send(worker.slot, { type: "cancel", job_id: job.id, epoch: worker.epoch }).catch(() => undefined);
    }
  }

  #preview(run: Run, report: ReportOf<"preview">, payload: readonly Buffer[], nowMs: number): void {
    const { job } = run;
    job.preview(previewEvent(job.request, report, payload), nowMs);
    for (const observer of this.#observers) observer.preview?.(job, report.preview_seconds);
  }

  async #succeed(job: Job, report: ReportOf<"result">, rgb: readonly Buffer[]): Promise<void> {
    if (job.ended !== undefined) return;
    let pictures: Picture[];
    try {
      pictures = await this.#ports.finishPictures(job.request, report, rgb);
    } catch (error) {
      this.#log.error({ jobId: job.id, err: error }, "the finished picture could not be encoded");
      this.#finish(job, { kind: "failed", error: new LatentcastError("internal_error", { cause: error }) });
      return;
    }
    this.#finish(job, { kind: "succeeded", result: jobResult(job, pictures, performance.now()) });
  }

  #release(worker: WorkerLoad, run: Run): void {
    worker.runs.delete(run.job.id);
    this.#assign();
  }

  #finish(job: Job, ending: Parameters<Job["finish"]>[0]): void {
    if (!job.finish(ending)) return;
    this.#unfinished.delete(job);
    for (const observer of this.#observers) observer.finished?.(job, ending);
    if (this.#unfinished.size === 0) this.#idle?.();
  }

  #failUnlessStarted(job: Job, timeoutMs: number): void {
    const timer = setTimeout(() => {
      if (job.state.kind !== "queued") return;
      this.#queue.remove(job);
      this.#finish(job, { kind: "failed", error: new LatentcastError("request_timeout") });
      this.#stopRun(job);
      this.#announcePositions();
    }, timeoutMs);
    timer.unref();
  }

  /** When a place in the queue should be free: one job's time on all workers, at least a second. */
  #retryAfterSeconds(): number {
    const [estimate] = startEstimatesMs([...this.#workers.values()], this.#queue);
    return Math.max(1, Math.ceil((estimate ?? 1_000) / 1_000));
  }
}
