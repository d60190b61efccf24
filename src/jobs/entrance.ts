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
  #promised = 0;

  constructor(options: EntranceOptions) {
    this.#options = options;
  }

  /** Places of jobs on their way here. */
  get promised(): number {
    return this.#promised;
  }

  /** Throws `draining` unless jobs are taken. */
  checkOpen(): void {
    if (this.#options.phase() !== "open") throw new LatentcastError("draining", { retryAfterSeconds: 1 });
  }

  promise(): Admission {
    this.#promised += 1;
    return new Admission(() => {
      this.#promised -= 1;
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
