/** The tickets that this node works on: named in its heartbeats, and kept from being handed to others. */
import type { Delivery } from "../bus.ts";
import type { HeldRun } from "../wire.ts";

export interface HeldTicket {
  readonly delivery: Delivery;
  /** It is no longer this node's; whether it is done is said through the delivery. */
  release(): void;
}

/** A quarter of the consumer's `ackWaitMs`. */
const WORKING_INTERVAL_MS = 8_000;

export class HeldTickets {
  readonly #held = new Set<HeldRun>();
  readonly #onChange: () => void;

  constructor(onChange: () => void = () => undefined) {
    this.#onChange = onChange;
  }

  get list(): HeldRun[] {
    return [...this.#held];
  }

  /** @param attempt The one that the heartbeat names: of the claim, where there is one. */
  hold(id: string, attempt: number, delivery: Delivery): HeldTicket {
    const run: HeldRun = { id, attempt, ack: delivery.ackSubject };
    const timer = setInterval(() => delivery.working(), WORKING_INTERVAL_MS);
    this.#held.add(run);
    this.#onChange();
    return {
      delivery,
      release: () => {
        clearInterval(timer);
        if (this.#held.delete(run)) this.#onChange();
      },
    };
  }
}
