/** How jobs come in: a place among those that wait is promised first, then the job takes it. */
import { randomUUID } from "node:crypto";
import { LatentcastError } from "../errors.ts";
import { Admission } from "./admission.ts";
import type { CancelReason } from "./events.ts";
import { Job } from "./job.ts";
import type { Phase } from "./status.ts";
import { drawSeed, type Submission } from "./submission.ts";

export interface EntranceOptions {
  readonly phase: () => Phase;
  readonly cancel: (job: Job, reason: CancelReason) => void;
  /** May refuse the job by throwing. */
  readonly check?: (job: Job) => void;
  readonly add: (job: Job) => void;
}

export class Entrance {
  readonly #options: EntranceOptions;
  /** By pool: what is promised to one does not fill another. A pool is remembered for as long as it has some. */
  readonly #promised = new Map<string, number>();

  constructor(options: EntranceOptions) {
    this.#options = options;
  }

  /** Places of jobs on their way here. */
  get promised(): number {
    return [...this.#promised.values()].reduce((sum, count) => sum + count, 0);
  }

  promisedTo(pool: string): number {
    return this.#promised.get(pool) ?? 0;
  }

  /** Throws `draining` unless jobs are taken. */
  checkOpen(): void {
    if (this.#options.phase() !== "open") throw new LatentcastError("draining", { retryAfterSeconds: 1 });
  }

  promise(pool: string): Admission {
    this.#promised.set(pool, this.promisedTo(pool) + 1);
    return new Admission(() => {
      const left = this.promisedTo(pool) - 1;
      if (left === 0) this.#promised.delete(pool);
      else this.#promised.set(pool, left);
    });
  }

  /**
   * Makes the job and adds it. Throws `draining`, and what the check throws.
   * @param submission Its images are released when this throws.
   * @param admission Used up, or released when this throws.
   */
  enter(submission: Submission, admission: Admission): Job {
    const { cancel, check, add } = this.#options;
    using place = admission;
    try {
      this.checkOpen();
      const { id = randomUUID() } = submission;
      const job = new Job({ ...submission, id, input: drawSeed(submission.input) }, performance.now(), (abandoned) => {
        cancel(abandoned, "client_gone");
      });
      check?.(job);
      place.consume();
      add(job);
      return job;
    } catch (error) {
      submission.inputs?.release();
      throw error;
    }
  }
}
