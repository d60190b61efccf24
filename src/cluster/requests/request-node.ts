/** What a node does for durable requests, put together: it runs those whose tickets it pulls, and finds its way back after it was away. */
import { RequestRunner, type RequestRunnerOptions } from "../../requests/runner.ts";
import type { Bus, Delivery } from "../bus.ts";
import { isCertified } from "./deaths.ts";
import { CLAIM_MS } from "./durable-job.ts";
import { DurableNode } from "./durable-node.ts";
import type { Fleet } from "../fleet/fleet.ts";
import { ownerName, type FleetRequestStore } from "../storage/fleet-requests.ts";
import type { HeldTickets } from "../node/held-tickets.ts";
import { Isolation } from "./isolation.ts";
import type { Layout } from "../layout.ts";
import type { FleetObserver } from "../observer.ts";
import { whereabouts } from "./whereabouts.ts";
import type { Ticket } from "../wire.ts";

export interface RequestNodeOptions extends Omit<
  RequestRunnerOptions,
  "store" | "terms" | "showsUnkept" | "onUncounted"
> {
  readonly store: FleetRequestStore;
  readonly bus: Bus;
  readonly layout: Layout;
  readonly fleet: Pick<Fleet, "nodes" | "isHearing">;
  readonly node: string;
  readonly pool: string;
  /** Of this process; another one after it was found dead. */
  readonly incarnation: () => string;
  /** It was found dead, and others do its work: it has to go on under a new incarnation. */
  readonly onCondemned: () => void;
  readonly observer?: FleetObserver;
}

/** A part of an image beside its header, well below what a message may hold. */
const PART_SHARE = 0.75;

export class RequestNode {
  readonly #durable: DurableNode;
  readonly #isolation: Isolation;

  constructor(options: RequestNodeOptions) {
    const { bus, layout, fleet, node, incarnation, onCondemned, log } = options;
    const owner = (): string => ownerName(node, incarnation());
    const terms = { leaseMs: CLAIM_MS, renewalMs: Number.POSITIVE_INFINITY };
    this.#durable = new DurableNode({
      ...options,
      runner: new RequestRunner({
        ...options,
        ...{ terms, showsUnkept: false },
        onUncounted: ({ job }) => options.observer?.runWasted?.(job),
      }),
      owner,
      whereabouts: (holder, id) => whereabouts(options, holder, id),
      partBytes: Math.floor(bus.maxPayload * PART_SHARE),
    });
    this.#isolation = new Isolation({
      fleet,
      isCondemned: () => isCertified(bus, layout, owner()),
      onCondemned: () => {
        log.warn({ node }, "this node was found dead while it was away: it gives up what it had");
        this.#durable.abandon();
        onCondemned();
      },
      onReturn: () => this.#durable.renew(),
      log,
    });
  }

  start(): void {
    this.#isolation.start();
  }

  /**
   * Resolves when the ticket's job is among those of this machine, or will not be.
   * @param held Names it in the heartbeats of this node.
   */
  take(delivery: Delivery, ticket: Ticket, held: HeldTickets): Promise<void> {
    return this.#durable.take(ticket, delivery, held);
  }

  /** What has not begun to be drawn is left to other nodes. */
  handBack(): void {
    this.#durable.handBack();
  }

  /** After the jobs have ended: resolves when each end is kept. */
  async close(): Promise<void> {
    this.#isolation.close();
    await this.#durable.idle();
    this.#durable.close();
  }

  /** Makes sure of every claim. */
  renew(): Promise<void> {
    return this.#durable.renew();
  }
}
