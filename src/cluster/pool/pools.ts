/** The pools that a gateway has jobs drawn by: its own, and every other of its fleet, from the moment that it hears of it. */
import type { Logger } from "pino";
import { pause } from "../../async/timer.ts";
import type { Bus, Stored } from "../bus.ts";
import type { Fleet } from "../fleet/fleet.ts";
import type { Layout } from "../layout.ts";
import { poolRecord } from "../wire.ts";
import { PoolView } from "./pool-view.ts";

export interface PoolsOptions {
  readonly bus: Bus;
  readonly layout: Layout;
  readonly fleet: Fleet;
  /** Of requests that name no model. */
  readonly own: string;
  readonly log: Logger;
  readonly onChange: () => void;
  /** Nothing is known of it any more. */
  readonly onForgotten: (pool: PoolView) => void;
  /** Tickets of this gateway in the queue of a pool. */
  readonly ownTickets: (pool: PoolView) => number;
}

const RETRY_MS = 1_000;

export class Pools {
  /** Draws requests that name no model. There from the start, though nothing may be known of it yet. */
  readonly own: PoolView;
  readonly #options: PoolsOptions;
  readonly #others = new Map<string, PoolView>();
  readonly #closing = new AbortController();
  #isCaughtUp = false;

  constructor(options: PoolsOptions) {
    this.#options = options;
    this.own = this.#view(options.own);
  }

  start(): void {
    this.own.start();
    void this.#listen();
    void this.#watch();
  }

  close(): void {
    this.#closing.abort();
    for (const view of [this.own, ...this.#others.values()]) view.close();
  }

  /** This gateway's own first, the others by name. */
  get all(): PoolView[] {
    return [this.own, ...[...this.#others.values()].toSorted((a, b) => a.name.localeCompare(b.name))];
  }

  /** Undefined for one that this gateway has not heard of. */
  get(name: string): PoolView | undefined {
    return name === this.own.name ? this.own : this.#others.get(name);
  }

  /** Whether it knows every pool that there was when it started; until then a name may be that of a model that it has not seen yet. */
  get isCaughtUp(): boolean {
    return this.#isCaughtUp;
  }

  /** Whether the ticket of some request would be taken. */
  get canDraw(): boolean {
    return this.all.some((pool) => pool.canDraw);
  }

  #view(name: string): PoolView {
    const { onChange, onForgotten: _own, ownTickets, ...options } = this.#options;
    const view: PoolView = new PoolView({
      ...options,
      name,
      ownTickets: () => ownTickets(view),
      onChange: () => {
        if (view !== this.own && view.serving === undefined) this.#forget(view);
        onChange();
      },
    });
    return view;
  }

  #open(name: string): PoolView {
    const known = this.get(name);
    if (known !== undefined) return known;
    const view = this.#view(name);
    this.#others.set(name, view);
    view.start();
    return view;
  }

  /** Its record was removed, and nobody draws for it. */
  #forget(view: PoolView): void {
    view.close();
    this.#others.delete(view.name);
    this.#options.onForgotten(view);
  }

  async #listen(): Promise<void> {
    const { fleet, onChange } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await fleet.changed(signal);
      if (signal.aborted) return;
      for (const { pool, state } of fleet.nodes) if (state === "ready") this.#open(pool);
      onChange();
    }
  }

  /** Pools that have no node now are known from their records. */
  async #watch(): Promise<void> {
    const { bus, layout, log } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        const records = bus.watch(layout.streams.state, layout.everyPool, { signal, headersOnly: true });
        for await (const stored of records) this.#read(stored);
      } catch (error) {
        log.warn({ err: error }, "the records of pools cannot be watched");
        await pause(RETRY_MS, signal);
      }
    }
  }

  #read(stored: Stored | "caught-up"): void {
    const { layout, onChange } = this.#options;
    if (stored === "caught-up") {
      this.#isCaughtUp = true;
    } else {
      const parsed = poolRecord.safeParse(stored.header);
      // Of a later version: its nodes' heartbeats are not understood either.
      if (!parsed.success) return;
      this.#open(layout.poolAt(stored.subject)).learn(parsed.data);
    }
    onChange();
  }
}
