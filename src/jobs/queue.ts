/** Jobs that no worker has, in the order they will be served: returned ones first, then normal, then low; each by age. */
import type { Job } from "./job.ts";

export class JobQueue {
  #jobs: readonly Job[] = [];

  get size(): number {
    return this.#jobs.length;
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

  /** In serving order. Jobs may be removed on the way. */
  [Symbol.iterator](): Iterator<Job> {
    return this.#jobs[Symbol.iterator]();
  }
}
