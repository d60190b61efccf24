/** The queue of a gateway, with what looks after requests that nobody works on. */
import type { Disposers } from "../async/disposers.ts";
import type { ClusterQueueOptions } from "../cluster/requests/cluster-queue.ts";
import type { FleetPace } from "../cluster/fleet/pace.ts";
import { RequestGateway } from "../cluster/requests/request-gateway.ts";
import type { Config } from "../config.ts";
import type { RequestQueue } from "../requests/request-queue.ts";
import type { FleetConnection } from "./fleet.ts";

export interface RequestGatewayParts extends Omit<
  ClusterQueueOptions,
  "bus" | "layout" | "map" | "tickets" | "ownPool"
> {
  readonly config: Pick<Config, "pool">;
  readonly open: Disposers;
  readonly pace?: FleetPace | undefined;
}

export function startRequestGateway(connection: FleetConnection, parts: RequestGatewayParts): RequestQueue {
  const { config, open } = parts;
  const gateway = new RequestGateway({
    ...parts,
    ...connection,
    gateway: `${connection.name}.${connection.incarnation()}`,
    ownPool: config.pool,
    closing: open.closing,
  });
  open.add(() => gateway.close());
  gateway.start();
  return gateway.queue;
}
