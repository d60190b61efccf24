/** Jobs from acceptance to their end: by when each must have a model and must have started, and when none is left. */
import { after, type Timer } from "../async/timer.ts";
import type { Job } from "./job.ts";

export type MissedDeadline = "request_timeout" | "worker_unavailable";

export class UnfinishedJobs {
  readonly #timers = new Map<Job, readonly Timer[]>();
  readonly #onMissed: (job: Job, code: MissedDeadline) => void;
  #emptied: (() => void) | undefined;

  /** @param onMissed Called for the first deadline of a job that passes. */
  constructor(onMissed: (job: Job, code: MissedDeadline) => void) {
    this.#onMissed = onMissed;
  }

  get size(): number {
    return this.#timers.size;
  }

  /** All of them at this moment. */
  list(): Job[] {
    return [...this.#timers.keys()];
  }

  add(job: Job): void {
    const { startTimeoutMs = Number.POSITIVE_INFINITY, modelTimeoutMs = Number.POSITIVE_INFINITY } = job.submission;
    const unlessStarted = (): void => {
      if (job.state.kind === "pending" || job.state.kind === "queued") this.#onMissed(job, "request_timeout");
    };
    const unlessResolved = (): void => {
      if (job.state.kind === "pending") this.#onMissed(job, "worker_unavailable");
    };
    const timers = [after(startTimeoutMs, unlessStarted, { unref: true })];
    if (job.state.kind === "pending") timers.push(after(modelTimeoutMs, unlessResolved, { unref: true }));
    this.#timers.set(job, timers);
  }

  /** A job has ended. */
  remove(job: Job): void {
    for (const timer of this.#timers.get(job) ?? []) timer.cancel();
    this.#timers.delete(job);
    if (this.#timers.size === 0) this.#emptied?.();
  }

  /** Resolves when no job is left. */
  async empty(): Promise<void> {
    if (this.#timers.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#emptied = resolve;
    });
  }
}
