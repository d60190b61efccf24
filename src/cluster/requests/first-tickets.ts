/**
 * The first ticket of each request that this gateway accepts. It is sent when the record is kept, and nobody waits for it: the request is
 * accepted already. What the queue does not take is sent again. What is left when the gateway ends or dies, a reconciler finds in the
 * records.
 */
import { setImmediate } from "node:timers/promises";
import type { Logger } from "pino";
import { pause } from "../../async/timer.ts";
import type { FleetObserver } from "../observer.ts";
import type { RequestMap } from "./request-map.ts";
import type { RequestTickets, TicketedRequest } from "./request-tickets.ts";

export interface FirstTicketsOptions {
  readonly tickets: Pick<RequestTickets, "publish">;
  readonly map: Pick<RequestMap, "get">;
  readonly log: Logger;
  /** Fires when the gateway ends. */
  readonly closing: AbortSignal;
  readonly observer?: FleetObserver;
}

const FIRST = 1;
const SHORTEST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8_000;

export class FirstTickets {
  readonly #options: FirstTicketsOptions;
  readonly #underWay = new Set<Promise<void>>();

  constructor(options: FirstTicketsOptions) {
    this.#options = options;
  }

  /**
   * Only for a request whose record is kept.
   * @param place Among those that wait. It is given up when the ticket is in the queue, where it counts itself.
   */
  send(request: TicketedRequest, place: Disposable): void {
    const sent = this.#send(request, place).finally(() => this.#underWay.delete(sent));
    this.#underWay.add(sent);
  }

  /** Resolves when none is on its way. Never rejects. */
  async settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }

  /** Never rejects. */
  async #send(request: TicketedRequest, place: Disposable): Promise<void> {
    const { tickets, closing, observer, log } = this.#options;
    using _place = place;
    // The answer goes first: here on two cores the ticket's way through the servers held it up by 0.4 ms.
    await setImmediate();
    for (let pauseMs = SHORTEST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      try {
        await tickets.publish(request, FIRST);
        return;
      } catch (error) {
        observer?.ticketFailed?.(request.pool);
        log.warn({ requestId: request.id, err: error }, "the ticket of a request could not be made yet");
      }
      await pause(pauseMs, closing);
      if (closing.aborted || !this.#isMissing(request.id)) return;
    }
  }

  /** A request that is not known here may not have been seen yet. If it has ended, the node that gets its ticket finds that out. */
  #isMissing(id: string): boolean {
    const state = this.#options.map.get(id);
    return state === undefined || (state.kind === "queued" && state.tickets === FIRST);
  }
}
