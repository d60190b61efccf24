/** What a gateway does for durable requests, put together: it shows and accepts them, and looks after those that nobody works on. */
import { ClusterQueue, type ClusterQueueOptions } from "./cluster-queue.ts";
import { Deaths } from "./deaths.ts";
import { FirstTickets } from "./first-tickets.ts";
import type { Fleet } from "../fleet/fleet.ts";
import type { FleetObserver } from "../observer.ts";
import type { FleetPace } from "../fleet/pace.ts";
import { Reconciler } from "./reconciler.ts";
import { RequestMap } from "./request-map.ts";
import { RequestTickets } from "./request-tickets.ts";
import { whereabouts } from "./whereabouts.ts";

export interface RequestGatewayOptions extends Omit<ClusterQueueOptions, "map" | "tickets"> {
  readonly fleet: Pick<Fleet, "onDeath" | "nodes" | "isHearing" | "isAlive">;
  /** Of this process, unlike that of any other. */
  readonly gateway: string;
  /** Fires when the gateway ends. */
  readonly closing: AbortSignal;
  readonly observer?: FleetObserver;
  readonly pace?: FleetPace | undefined;
}

export class RequestGateway {
  readonly queue: ClusterQueue;
  readonly map: RequestMap;
  readonly reconciler: Reconciler;
  readonly #deaths: Deaths;

  constructor(options: RequestGatewayOptions) {
    const tickets = new RequestTickets(options);
    this.map = new RequestMap(options);
    const { map } = this;
    this.queue = new ClusterQueue({ ...options, map, tickets: new FirstTickets({ ...options, map, tickets }) });
    this.#deaths = new Deaths({ ...options, map });
    this.reconciler = new Reconciler({
      ...{ ...options, map, tickets },
      whereabouts: (holder, id) => whereabouts(options, holder, id),
    });
  }

  start(): void {
    this.map.start();
    this.#deaths.start();
    this.reconciler.start();
  }

  close(): void {
    this.#deaths.close();
  }
}
