/** Reads along what a fleet writes about its requests, and says how often each of them has ended. It sees only what was committed. */
import type { Bus } from "../../src/cluster/bus.ts";
import type { Layout } from "../../src/cluster/layout.ts";
import { readHead, type StateHeader } from "../../src/cluster/storage/state-record.ts";

export interface Verdict {
  /** Ended more than once, or went on after their end. */
  readonly endedTwice: string[];
  readonly unended: string[];
  /** How often each was run, runs that were handed back left out. */
  readonly attempts: Readonly<Record<string, number>>;
}

export class Judge implements Disposable {
  readonly #stop = new AbortController();
  readonly #newest = new Map<string, StateHeader>();
  readonly #endedTwice = new Set<string>();

  constructor(bus: Bus, layout: Layout) {
    void this.#read(bus, layout);
  }

  get verdict(): Verdict {
    const heads = [...this.#newest.values()];
    return {
      endedTwice: [...this.#endedTwice],
      unended: heads.filter(({ kind }) => kind !== "ended").map(({ id }) => id),
      attempts: Object.fromEntries(heads.map(({ id, attempts }) => [id, attempts])),
    };
  }

  knows(id: string): boolean {
    return this.#newest.has(id);
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
  }

  async #read(bus: Bus, layout: Layout): Promise<void> {
    const options = { signal: this.#stop.signal, headersOnly: true };
    for await (const stored of bus.watch(layout.streams.state, layout.everyState, options))
      if (stored !== "caught-up") this.#see(readHead(stored.header));
  }

  #see(head: StateHeader): void {
    const before = this.#newest.get(head.id);
    this.#newest.set(head.id, head);
    // The watch repeats itself after a break.
    if (before?.kind !== "ended" || before.nonce === head.nonce) return;
    const isDelivery = head.kind === "ended" && JSON.stringify(head.hook) !== JSON.stringify(before.hook);
    if (!isDelivery) this.#endedTwice.add(head.id);
  }
}
