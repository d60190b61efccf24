/** Everything of a fleet that the composition root needs, loaded only by a process that is part of one. */
import { sharedSigningKey } from "../cluster/storage/shared-key.ts";
import { bothRoles, connectToFleet, gatewayAlone, startGateway, startNode } from "./fleet.ts";
import { startRequestGateway } from "./fleet-queue.ts";
import { openFleetStorage } from "./fleet-storage.ts";
import { serveNode } from "./node-server.ts";

export const fleetParts = {
  bothRoles,
  connectToFleet,
  gatewayAlone,
  openFleetStorage,
  serveNode,
  sharedSigningKey,
  startGateway,
  startNode,
  startRequestGateway,
};
