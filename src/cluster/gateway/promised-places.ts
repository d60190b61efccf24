/** Places in the queues of pools that are promised to jobs on their way here. A pool is remembered for as long as it has one. */
import { Admission } from "../../jobs/admission.ts";

export class PromisedPlaces {
  readonly #counts = new Map<string, number>();

  get total(): number {
    return [...this.#counts.values()].reduce((sum, count) => sum + count, 0);
  }

  in(pool: string): number {
    return this.#counts.get(pool) ?? 0;
  }

  promise(pool: string): Admission {
    this.#counts.set(pool, this.in(pool) + 1);
    return new Admission(() => {
      const left = this.in(pool) - 1;
      if (left === 0) this.#counts.delete(pool);
      else this.#counts.set(pool, left);
    });
  }
}
