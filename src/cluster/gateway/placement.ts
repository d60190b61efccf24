/** Which pool draws a request: the one whose model it names. Names mean the same as on a machine with several models. */
import { LatentcastError } from "../../errors.ts";
import { chooseModel } from "../../jobs/choose-model.ts";
import type { NamedSubmission } from "../../jobs/jobs.ts";
import type { JobRequest, RequestLimits, Serving } from "../../jobs/request.ts";
import { resolveSubmission } from "../../jobs/resolve.ts";
import type { Submission } from "../../jobs/submission.ts";
import type { Pools } from "../pool/pools.ts";
import type { PoolView } from "../pool/pool-view.ts";

export interface PoolRequest {
  readonly pool: PoolView;
  readonly request: JobRequest;
}

export interface FleetModel {
  readonly pool: PoolView;
  readonly serving: Serving;
}

export class Placement {
  readonly #pools: Pick<Pools, "own" | "all" | "isCaughtUp">;
  readonly #limits: RequestLimits;

  constructor(pools: Pick<Pools, "own" | "all" | "isCaughtUp">, limits: RequestLimits) {
    this.#pools = pools;
    this.#limits = limits;
  }

  /**
   * Every model that is known, with the pool that has it; that of the gateway's own pool comes first. Of pools with models of one name it
   * is the own one, else one that has a node, else the first by name.
   */
  get served(): FleetModel[] {
    const { own, all } = this.#pools;
    const [up, away] = [true, false].map((isUp) => all.filter((pool) => (pool.problem === undefined) === isUp));
    const served = new Map<string, FleetModel>();
    for (const pool of [own, ...(up ?? []), ...(away ?? [])]) {
      const { serving } = pool;
      if (serving !== undefined && !served.has(serving.model.id)) served.set(serving.model.id, { pool, serving });
    }
    return [...served.values()];
  }

  /**
   * Undefined while what is named may become known: the own pool's model, or one that this gateway has not read about yet. Throws
   * `invalid_request` for a name that is not there, and for what the model cannot make.
   */
  place(submission: Submission): PoolRequest | undefined {
    const { served } = this;
    if (this.#isUndecided(submission, served)) return undefined;
    const request = resolveSubmission(submission, choiceOf(served), this.#limits);
    return { request, pool: poolOf(request.params.model, served) ?? this.#pools.own };
  }

  /**
   * The same without a look at the rest of the request. Throws `invalid_request` for a name that is not there, and `worker_unavailable`
   * where it may be a moment later.
   */
  poolFor(submission: NamedSubmission): PoolView {
    const { served } = this;
    if (this.#isUndecided(submission, served)) {
      if (this.#pools.isCaughtUp) return this.#pools.own;
      throw new LatentcastError("worker_unavailable", { retryAfterSeconds: 1 });
    }
    const { serving } = chooseModel(submission, choiceOf(served));
    return poolOf(serving.model.id, served) ?? this.#pools.own;
  }

  #isUndecided({ input, chooseModel: choose }: NamedSubmission, served: readonly FleetModel[]): boolean {
    const { own, isCaughtUp } = this.#pools;
    if (own.serving !== undefined && isCaughtUp) return false;
    const names = served.map(({ serving }) => serving.model.id);
    const name = choose === undefined ? (input.model ?? undefined) : choose(names);
    return name === undefined ? own.serving === undefined : !names.includes(name);
  }
}

function choiceOf(served: readonly FleetModel[]) {
  return { models: served.map(({ serving }) => serving), unserved: [] };
}

function poolOf(model: string | null, served: readonly FleetModel[]): PoolView | undefined {
  return served.find(({ serving }) => serving.model.id === model)?.pool;
}
