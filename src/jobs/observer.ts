/** Who wants to count what happens to jobs. Called synchronously; must not throw. */
import type { TerminalEvent } from "./events.ts";
import type { Job } from "./job.ts";

export interface JobObserver {
  /** Its request is known already when a model is loaded; else {@link resolved} follows. */
  accepted?(job: Job): void;
  /** It had to wait for a model, and one is loaded now. */
  resolved?(job: Job): void;
  /** Its ticket is in the queue of a pool of the fleet; not called on a single machine. @param seconds That this took. */
  ticketed?(job: Job, pool: string, seconds: number): void;
  /** A node of the pool has taken it; not called on a single machine. */
  claimed?(job: Job, node: string, pool: string): void;
  started?(job: Job): void;
  step?(job: Job, seconds: number): void;
  preview?(job: Job, seconds: number): void;
  /** Its worker holds it no more. A result is encoded after that, a cancelled job has ended before. */
  released?(job: Job): void;
  finished?(job: Job, event: TerminalEvent): void;
  /** A worker confirmed a cancellation after this much device time. */
  cancelled?(job: Job, deviceSeconds: number): void;
}
