/** Totals since the start, for `/health`. */
import type { TerminalEvent } from "./events.ts";
import type { Job } from "./job.ts";
import type { JobObserver } from "./observer.ts";

export interface Totals {
  accepted: number;
  succeeded: number;
  failed: number;
  cancelled: number;
  previews: number;
  /** Previews that slow clients did not get to see. */
  previews_dropped: number;
  /** Device time spent on jobs that were then cancelled. */
  cancelled_device_seconds: number;
}

export class Tally implements JobObserver {
  readonly totals: Totals = {
    accepted: 0,
    succeeded: 0,
    failed: 0,
    cancelled: 0,
    previews: 0,
    previews_dropped: 0,
    cancelled_device_seconds: 0,
  };

  accepted(): void {
    this.totals.accepted += 1;
  }

  preview(): void {
    this.totals.previews += 1;
  }

  finished(job: Job, { kind }: TerminalEvent): void {
    this.totals[kind] += 1;
    this.totals.previews_dropped += job.dropped;
  }

  cancelled(_job: Job, deviceSeconds: number): void {
    this.totals.cancelled_device_seconds += deviceSeconds;
  }
}
