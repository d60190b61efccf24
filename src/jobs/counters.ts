/** Totals since the start: `counters` of `/health`, except restarts, which the slots count. */
import type { PoolCounters } from "../worker/pool.ts";
import type { TerminalEvent } from "./events.ts";
import type { Job } from "./job.ts";
import type { JobObserver } from "./observer.ts";

export class Counters implements JobObserver, PoolCounters {
  /** Messages of processes that have been replaced, or about jobs that their worker does not hold. */
  stale = 0;
  garbage = 0;
  readonly jobs = { accepted: 0, succeeded: 0, failed: 0, cancelled: 0 };
  previews = 0;
  previewsDropped = 0;
  /** Device time spent on jobs that were then cancelled. */
  cancelledDeviceSeconds = 0;

  accepted(): void {
    this.jobs.accepted += 1;
  }

  preview(): void {
    this.previews += 1;
  }

  finished(job: Job, { kind }: TerminalEvent): void {
    this.jobs[kind] += 1;
    this.previewsDropped += job.dropped;
  }

  cancelled(_job: Job, deviceSeconds: number): void {
    this.cancelledDeviceSeconds += deviceSeconds;
  }
}
