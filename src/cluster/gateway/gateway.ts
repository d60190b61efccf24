/** A process of the fleet that clients talk to: it says that it lives, hears who else does, and has jobs drawn by a pool's nodes. */
import type { Logger } from "pino";
import type { JobObserver } from "../../jobs/observer.ts";
import type { Bus } from "../bus.ts";
import type { Fleet } from "../fleet/fleet.ts";
import { Heartbeats } from "../fleet/heartbeats.ts";
import type { Layout } from "../layout.ts";
import { RemoteJobs, type RemoteJobsOptions } from "./remote-jobs.ts";
import { WIRE_VERSION, type GatewayBeat } from "../wire.ts";

export interface GatewayOptions {
  readonly bus: Bus;
  readonly layout: Layout;
  readonly fleet: Fleet;
  readonly name: string;
  readonly incarnation: () => string;
  readonly pool: string;
  readonly version: string;
  readonly config: RemoteJobsOptions["config"];
  readonly log: Logger;
  readonly observers?: readonly JobObserver[];
}

export class Gateway {
  readonly jobs: RemoteJobs;
  readonly #heartbeats: Heartbeats;

  constructor(options: GatewayOptions) {
    const { bus, layout, name, incarnation, pool, version } = options;
    this.jobs = new RemoteJobs(options);
    const beat = (): GatewayBeat => ({
      v: WIRE_VERSION,
      kind: "gateway",
      ...{ name, pool, version },
      incarnation: incarnation(),
      waiting: this.jobs.waiting,
    });
    this.#heartbeats = new Heartbeats({ bus, subject: layout.heartbeat, beat });
  }

  start(): void {
    this.jobs.start();
    this.#heartbeats.start();
  }

  /** The jobs are closed by whoever drains them. */
  close(): void {
    this.#heartbeats.stop();
  }
}
