/** Whether this node may take the work of its pool: it has loaded a model, and the one that the pool is about. */
import type { Logger } from "pino";
import { pause } from "../../async/timer.ts";
import type { Bus } from "../bus.ts";
import type { Layout } from "../layout.ts";
import { fingerprintOf, joinPool, type PoolFacts } from "./pool-record.ts";
import type { NodeBeat } from "../wire.ts";

export interface PoolMemberOptions {
  readonly bus: Bus;
  readonly layout: Layout;
  readonly pool: string;
  readonly log: Logger;
  /** Of what is loaded; undefined until something is. */
  readonly facts: () => PoolFacts | undefined;
  /** Whether other nodes of the pool take work now. */
  readonly hasOthers: () => boolean;
  readonly onChange: () => void;
}

export interface Standing {
  readonly state: NodeBeat["state"];
  /** Why it takes no work, where that is a fault. */
  readonly reason: string | null;
  readonly fingerprint: string | null;
}

const LOOK_AGAIN_MS = 250;
/** As long as it takes to hear everybody else twice. */
const JOIN_AGAIN_MS = 2_200;

export class PoolMember {
  readonly #options: PoolMemberOptions;
  readonly #stopped = new AbortController();
  #standing: Standing = { state: "loading", reason: null, fingerprint: null };

  constructor(options: PoolMemberOptions) {
    this.#options = options;
  }

  get standing(): Standing {
    return this.#standing;
  }

  /** Until it has joined, or {@link leave}. */
  async join(): Promise<void> {
    const { facts, onChange, log, pool } = this.#options;
    const { signal } = this.#stopped;
    // A record that differs is of earlier days when nobody else was heard meanwhile.
    let hasListened = false;
    while (!signal.aborted) {
      const own = facts();
      if (own === undefined) {
        await pause(LOOK_AGAIN_MS, signal);
        continue;
      }
      const record = await this.#ask(own, hasListened);
      if (signal.aborted) return;
      const fingerprint = fingerprintOf(own);
      if (record === fingerprint) {
        this.#standing = { state: "ready", reason: null, fingerprint };
        return onChange();
      }
      if (record !== undefined && hasListened) {
        const reason = `pool ${pool} is served with another model or other settings, or by another release; give this node's pool a name of its own`;
        if (this.#standing.state !== "mismatch") log.error({ pool }, reason);
        this.#standing = { state: "mismatch", reason, fingerprint };
        onChange();
      }
      await pause(JOIN_AGAIN_MS, signal);
      hasListened = true;
    }
  }

  leave(state: "draining" | "gone"): void {
    this.#stopped.abort();
    this.#standing = { ...this.#standing, state, reason: null };
    this.#options.onChange();
  }

  /** The fingerprint that holds; undefined when the servers did not say. */
  async #ask(facts: PoolFacts, hasListened: boolean): Promise<string | undefined> {
    const { bus, layout, pool, hasOthers, log } = this.#options;
    try {
      const mayReplace = hasListened && !hasOthers();
      return await joinPool(bus, layout, { pool, facts, mayReplace });
    } catch (error) {
      log.warn({ pool, err: error }, "the record of the pool could not be read or written");
      return undefined;
    }
  }
}
