/** Everything of a fleet that the composition root needs, loaded only by a process that is part of one. */
import { sharedSigningKey } from "../cluster/storage/shared-key.ts";
import type { Config } from "../config.ts";
import { bothRoles, connectToFleet, gatewayAlone, startGateway, startNode, type FleetConnection } from "./fleet.ts";
import { startRequestGateway } from "./fleet-queue.ts";
import { FILE_CACHE_BYTES, openFleetStorage, type FleetStorage } from "./fleet-storage.ts";
import { serveNode } from "./node-server.ts";

export const fleetParts = {
  bothRoles,
  connectToFleet,
  gatewayAlone,
  openGatewayStorage: (connection: FleetConnection, config: Config): FleetStorage =>
    openFleetStorage(connection, config, FILE_CACHE_BYTES),
  serveNode,
  sharedSigningKey,
  startGateway,
  startNode,
  startRequestGateway,
};
