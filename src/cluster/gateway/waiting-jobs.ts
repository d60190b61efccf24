/** The jobs of a gateway that nobody has begun, in the order in which they came, and the place of each in the queue of its pool. */
import type { Job } from "../../jobs/job.ts";
import type { JobRequest } from "../../jobs/request.ts";
import type { PoolView } from "../pool/pool-view.ts";

export class WaitingJobs {
  readonly #pools = new Map<Job, PoolView>();
  readonly #requestOf: (job: Job) => JobRequest | undefined;

  /** @param requestOf Undefined until the job has a ticket. */
  constructor(requestOf: (job: Job) => JobRequest | undefined) {
    this.#requestOf = requestOf;
  }

  get size(): number {
    return this.#pools.size;
  }

  countIn(pool: PoolView): number {
    return [...this.#pools.values()].filter((each) => each === pool).length;
  }

  /** The last to come; one that waits already keeps its place. */
  add(job: Job, pool: PoolView): void {
    this.#pools.set(job, pool);
  }

  /** It goes ahead of those that came later, as its ticket does. */
  putBack(job: Job, pool: PoolView): void {
    const others = [...this.#pools].filter(([other]) => other !== job);
    this.#pools.clear();
    for (const [each, its] of [[job, pool] as const, ...others]) this.#pools.set(each, its);
  }

  delete(job: Job): void {
    this.#pools.delete(job);
  }

  /** Tells each its place, where that has changed. */
  announce(): void {
    const ahead = new Map<PoolView, number>();
    for (const [job, pool] of this.#pools) {
      const position = ahead.get(pool) ?? pool.ticketsElsewhere;
      const request = this.#requestOf(job);
      const estimateMs = request === undefined ? null : pool.estimateMs(position, request);
      const { place } = job;
      if (place?.position !== position || place.estimateMs !== estimateMs) job.queued(position, estimateMs);
      ahead.set(pool, position + 1);
    }
  }
}
