/** Jobs that wait, in the order they will be served: returned ones first, then normal, then low; each by age. */
import type { Job } from "./job.ts";

export class JobQueue {
  readonly #limit: number;
  #jobs: readonly Job[] = [];

  /** @param limit Waiting jobs beyond which {@link isFull} says so. Returned jobs are never refused. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#jobs.length;
  }

  /** @param reserved Places that are promised to jobs on their way here. */
  isFull(reserved = 0): boolean {
    return this.#jobs.length + reserved >= this.#limit;
  }

  add(job: Job): void {
    const firstLow = this.#jobs.findIndex(({ priority }) => priority === "low");
    const index = job.priority === "low" || firstLow < 0 ? this.#jobs.length : firstLow;
    this.#jobs = this.#jobs.toSpliced(index, 0, job);
  }

  /** Jobs of a worker that died go ahead of all others, in the order given. */
  giveBack(jobs: readonly Job[]): void {
    this.#jobs = [...jobs, ...this.#jobs];
  }

  remove(job: Job): boolean {
    const rest = this.#jobs.filter((other) => other !== job);
    const found = rest.length < this.#jobs.length;
    this.#jobs = rest;
    return found;
  }

  /** In serving order. */
  [Symbol.iterator](): Iterator<Job> {
    return this.#jobs[Symbol.iterator]();
  }
}
