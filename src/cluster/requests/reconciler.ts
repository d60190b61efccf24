/**
 * Finds what fell between two steps, from the records alone: requests whose ticket is gone, or whose webhook nobody will
 * deliver; and ends what has waited too long. Every gateway does this at times of its own; each repair is a write that one of them wins.
 */
import type { Logger } from "pino";
import { LatentcastError } from "../../errors.ts";
import { failure } from "../../requests/made-end.ts";
import { pause } from "../../async/timer.ts";
import { usualPace, type FleetPace } from "../fleet/pace.ts";
import type { FleetRequestStore } from "../storage/fleet-requests.ts";
import type { FleetObserver } from "../observer.ts";
import type { PlacedState, RequestMap } from "./request-map.ts";
import type { RequestTickets } from "./request-tickets.ts";
import type { Whereabouts } from "./whereabouts.ts";

export interface ReconcilerOptions {
  readonly store: FleetRequestStore;
  readonly map: RequestMap;
  readonly tickets: RequestTickets;
  readonly whereabouts: (holder: string, id: string) => Promise<Whereabouts>;
  readonly log: Logger;
  /** Fires when the gateway ends. */
  readonly closing: AbortSignal;
  readonly observer?: FleetObserver;
  readonly pace?: FleetPace | undefined;
}

/** How late a request may be that was not begun in time. */
const LATE_MS = 500;
/** Each is a question to the leader of a stream. */
const AT_ONCE = 16;

export class Reconciler {
  readonly #options: ReconcilerOptions;
  readonly #pace: FleetPace;
  /** Tickets that were made again. */
  remade = 0;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#pace = options.pace ?? usualPace;
  }

  start(): void {
    void this.#run();
    void this.#watchClock();
  }

  /** Looks at everything once. Never rejects. */
  async sweep(nowMs = performance.now()): Promise<void> {
    const due = this.#options.map
      .list()
      .filter(({ state, sinceMs }) => nowMs - sinceMs >= this.#pace.settleMs[state.kind])
      .map(({ state }) => state);
    const next = due.values();
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        for (const state of next) await this.#repair(state);
      }),
    );
  }

  /** Ends what was not begun in time. Never rejects. */
  async endLate(nowMs = Date.now()): Promise<void> {
    const { map, store, log } = this.#options;
    const isLate = ({ kind, startByMs }: PlacedState): boolean =>
      kind === "queued" && startByMs !== null && startByMs < nowMs;
    for (const { id } of map
      .list()
      .map(({ state }) => state)
      .filter(isLate)) {
      try {
        await store.cancel(id, failure(new LatentcastError("request_timeout")));
      } catch (error) {
        log.warn({ requestId: id, err: error }, "a request that is too late could not be ended yet");
      }
    }
  }

  /** A client waits for it, so it cannot wait for a sweep. */
  async #watchClock(): Promise<void> {
    const { closing } = this.#options;
    while (!closing.aborted) {
      await pause(LATE_MS, closing);
      if (!closing.aborted) await this.endLate();
    }
  }

  async #run(): Promise<void> {
    const { closing, map } = this.#options;
    await map.caughtUp(closing);
    while (!closing.aborted) {
      await pause(this.#pace.sweepMs * (1 + Math.random()), closing);
      if (!closing.aborted) await this.sweep();
    }
  }

  async #repair(state: PlacedState): Promise<void> {
    const { store, log } = this.#options;
    try {
      if (state.kind === "ended") await store.remindOfWebhook(state.id);
      else if (await this.#isStranded(state)) await this.#offerAgain(state);
    } catch (error) {
      log.warn({ requestId: state.id, err: error }, "a request could not be looked after yet");
    }
  }

  /** Nobody works on it, and no ticket says that somebody should. */
  async #isStranded({ id, pool, priority, kind, holder }: PlacedState): Promise<boolean> {
    const { tickets, whereabouts } = this.#options;
    if (kind === "running" && holder !== null) {
      const where = await whereabouts(holder, id);
      // Silence alone is not death: that is certified first.
      if (where === "holding" || where === "silent") return false;
    }
    return !(await tickets.exists({ id, pool, priority }));
  }

  async #offerAgain({ id, pool, priority, revision }: PlacedState): Promise<void> {
    const { store, tickets, log, observer } = this.#options;
    const number = await store.countTicket(id, revision);
    if (number === undefined) return;
    await tickets.publish({ id, pool, priority }, number);
    this.remade += 1;
    observer?.requestReticketed?.();
    log.warn({ requestId: id, ticket: number }, "the ticket of a request was lost and is made again");
  }
}
