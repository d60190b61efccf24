/**
 * What a gateway knows of all requests that have not ended: one watch over the records, without their bodies. Polls of waiting and
 * running requests are answered from it, so they cost the servers nothing; ends are read where they are kept.
 */
import type { Logger } from "pino";
import { Changes } from "../../async/changes.ts";
import { pause } from "../../async/timer.ts";
import type { FleetRequestStore, RequestState } from "../storage/fleet-requests.ts";

export interface RequestMapOptions {
  readonly store: Pick<FleetRequestStore, "watch">;
  /** Of requests whose record names none. */
  readonly ownPool: string;
  readonly log: Logger;
  /** Fires when the gateway ends. */
  readonly closing: AbortSignal;
}

export type PlacedState = RequestState & { readonly pool: string };

/** Where a request stands, and since when by the clock of this process. */
export interface KnownRequest {
  readonly state: PlacedState;
  readonly sinceMs: number;
}

const RETRY_MS = 1_000;
const CLASSES = { normal: 0, low: 1 } as const;

export class RequestMap {
  readonly #options: RequestMapOptions;
  readonly #known = new Map<string, KnownRequest>();
  /** Accepted by this gateway a moment ago: the watch will show them. */
  readonly #expected = new Map<string, Turn & Pick<PlacedState, "pool">>();
  readonly #changes = new Changes();
  readonly #listeners = new Map<string, Set<() => void>>();
  #isCaughtUp = false;
  /** Those that wait, by pool, in the order in which they will be taken. */
  #order: ReadonlyMap<string, readonly string[]> | undefined;

  constructor(options: RequestMapOptions) {
    this.#options = options;
  }

  start(): void {
    void this.#run();
  }

  /** Whether it has seen what there was when it started; until then it may lack requests. */
  get isCaughtUp(): boolean {
    return this.#isCaughtUp;
  }

  /** Resolves when it has seen everything that there was, or when `signal` fires. */
  async caughtUp(signal: AbortSignal): Promise<void> {
    while (!this.#isCaughtUp && !signal.aborted) await this.#changes.next(signal);
  }

  /** Undefined for a request that is not known here, or not yet. One that has ended stays only while its webhook is due. */
  get(id: string): PlacedState | undefined {
    return this.#known.get(id)?.state;
  }

  list(): KnownRequest[] {
    return [...this.#known.values()];
  }

  /** Requests of its pool that will be taken before this one. */
  position(id: string): number {
    return Math.max(0, this.#waitingIn(this.get(id)?.pool).indexOf(id));
  }

  /** The same of one that is not known here yet. */
  placeIn(pool: string, request: Turn): number {
    let ahead = 0;
    const count = (other: Turn & Pick<PlacedState, "pool">): void => {
      if (other.pool === pool && byTurn(other, request) < 0) ahead += 1;
    };
    for (const { state } of this.#known.values()) if (state.kind === "queued") count(state);
    for (const other of this.#expected.values()) count(other);
    return ahead;
  }

  /** It is about to be kept: later ones come after it. Returns how many will be taken before it. */
  expect(request: Turn & Pick<PlacedState, "pool">): number {
    const { id, pool, priority, acceptedAtMs } = request;
    const ahead = this.placeIn(pool, request);
    this.#expected.set(id, { id, pool, priority, acceptedAtMs });
    return ahead;
  }

  /** It was not kept. */
  forget(id: string): void {
    this.#expected.delete(id);
  }

  /** Something changed, anywhere. */
  changed(signal: AbortSignal): Promise<void> {
    return this.#changes.next(signal);
  }

  /** Calls back whenever the record of this request has changed; returns how to stop that. */
  listen(id: string, listener: () => void): () => void {
    const all = this.#listeners.get(id) ?? new Set();
    this.#listeners.set(id, all.add(listener));
    return () => {
      all.delete(listener);
      if (all.size === 0 && this.#listeners.get(id) === all) this.#listeners.delete(id);
    };
  }

  async #run(): Promise<void> {
    const { store, closing, log } = this.#options;
    while (!closing.aborted) {
      try {
        for await (const state of store.watch(closing)) this.#see(state);
      } catch (error) {
        log.error({ err: error }, "the records of requests cannot be watched");
        await pause(RETRY_MS, closing);
      }
    }
  }

  #see(seen: RequestState | "caught-up"): void {
    if (seen === "caught-up") {
      this.#isCaughtUp = true;
    } else {
      const state = { ...seen, pool: seen.pool ?? this.#options.ownPool };
      this.#expected.delete(state.id);
      // After a break the watch may repeat itself.
      if (state.revision < (this.#known.get(state.id)?.state.revision ?? 0)) return;
      if (state.kind === "ended" && !state.isHookDue) this.#known.delete(state.id);
      else this.#known.set(state.id, { state, sinceMs: performance.now() });
      this.#order = undefined;
      for (const listener of [...(this.#listeners.get(state.id) ?? [])]) listener();
    }
    this.#changes.announce();
  }

  #waitingIn(pool: string | undefined): readonly string[] {
    this.#order ??= this.#sorted();
    return (pool === undefined ? undefined : this.#order.get(pool)) ?? [];
  }

  #sorted(): Map<string, string[]> {
    const queued = [...this.#known.values()].flatMap(({ state }) => (state.kind === "queued" ? [state] : []));
    const order = new Map<string, string[]>();
    for (const { id, pool } of queued.toSorted(byTurn)) {
      const ids = order.get(pool);
      if (ids === undefined) order.set(pool, [id]);
      else ids.push(id);
    }
    return order;
  }
}

/** What decides when a request is taken. */
type Turn = Pick<RequestState, "id" | "priority" | "acceptedAtMs">;

function byTurn(a: Turn, b: Turn): number {
  return (
    CLASSES[a.priority] - CLASSES[b.priority] ||
    a.acceptedAtMs - b.acceptedAtMs ||
    (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)
  );
}
