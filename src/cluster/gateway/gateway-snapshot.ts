/** A gateway at one moment, in the shape of `GET /health`: its own counts, and the fleet as it is heard. */
import { describeService, type ServiceFacts } from "../../jobs/snapshot.ts";
import type { ServiceSnapshot } from "../../schema/health.ts";
import type { Fleet } from "../fleet/fleet.ts";
import type { NodeBeat } from "../wire.ts";

export interface GatewayFacts extends ServiceFacts {
  readonly fleet: Fleet;
  readonly pool: string;
  readonly isConnected: boolean;
  /** Tickets that were made again. */
  readonly reticketed: number;
}

export function takeGatewaySnapshot(facts: GatewayFacts): ServiceSnapshot {
  const { fleet, pool, isConnected, reticketed } = facts;
  return {
    ...describeService(facts, []),
    cluster: {
      pool,
      connected: isConnected,
      gateways: fleet.gateways.length,
      nodes: fleet.nodes.map(describeNode),
      deaths: fleet.deaths,
      reticketed,
    },
  };
}

function describeNode(node: NodeBeat): NonNullable<ServiceSnapshot["cluster"]>["nodes"][number] {
  return {
    name: node.name,
    pool: node.pool,
    state: node.state,
    reason: node.reason,
    version: node.version,
    jobs: node.held.length,
    devices: node.devices.map((device) => ({
      slot: device.slot,
      name: device.name,
      jobs: device.held,
      step_seconds: device.step_seconds,
      first_preview_seconds: device.first_preview_seconds,
      backlog_seconds: device.backlog_seconds,
    })),
  };
}
