/** A gateway at one moment, in the shape of `GET /health`: its own counts, and the fleet as it is heard. */
import { describeModel, describeService, type ServiceFacts } from "../../jobs/snapshot.ts";
import type { ServiceSnapshot } from "../../schema/health.ts";
import type { Fleet } from "../fleet/fleet.ts";
import type { PoolView } from "../pool/pool-view.ts";
import type { FleetModel } from "./placement.ts";
import type { NodeBeat } from "../wire.ts";

export interface GatewayFacts extends ServiceFacts {
  readonly fleet: Fleet;
  readonly pool: string;
  readonly pools: readonly { readonly view: PoolView; readonly waiting: number }[];
  readonly served: readonly FleetModel[];
  readonly isConnected: boolean;
  /** Tickets that were made again. */
  readonly reticketed: number;
}

export function takeGatewaySnapshot(facts: GatewayFacts): ServiceSnapshot {
  const { fleet, pool, pools, served, isConnected, reticketed } = facts;
  return {
    ...describeService(facts, [], served.length > 1 ? severalModels(served) : {}),
    cluster: {
      pool,
      pools: pools.map(({ view, waiting }) => ({
        name: view.name,
        model: view.serving?.model.id ?? null,
        nodes: view.nodes.length,
        waiting,
      })),
      connected: isConnected,
      gateways: fleet.gateways.length,
      nodes: fleet.nodes.map(describeNode),
      deaths: fleet.deaths,
      reticketed,
    },
  };
}

/** A model that no node draws is as one that cannot be loaded: it is named, with the reason. */
function severalModels(served: readonly FleetModel[]): Pick<ServiceSnapshot, "models" | "unserved_models"> {
  return {
    models: served
      .filter(({ pool }) => pool.problem === undefined)
      .map(({ serving }) => ({ ...describeModel(serving.model), is_loaded: true, problem: null })),
    unserved_models: served.flatMap(({ pool: { problem }, serving }) =>
      problem === undefined ? [] : [{ id: serving.model.id, problem }],
    ),
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
