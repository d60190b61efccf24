/** A gateway at one moment, in the shape of `GET /health`: its own counts, and the fleet as it is heard. */
import type { Counters } from "../jobs/counters.ts";
import { modelNote } from "../jobs/snapshot.ts";
import type { ServiceStatus } from "../jobs/status.ts";
import type { ModelInfo } from "../protocol/messages.ts";
import type { ServiceSnapshot } from "../schema/health.ts";
import type { Fleet } from "./fleet.ts";
import type { NodeBeat } from "./wire.ts";

export interface GatewayFacts {
  readonly status: ServiceStatus;
  readonly version: string;
  readonly shortcuts: readonly string[];
  readonly model: ModelInfo | undefined;
  readonly waiting: number;
  readonly unfinished: number;
  readonly counters: Counters;
  readonly fleet: Fleet;
  readonly pool: string;
  readonly isConnected: boolean;
  /** Tickets that were made again. */
  readonly reticketed: number;
}

export function takeGatewaySnapshot(facts: GatewayFacts): ServiceSnapshot {
  const { status, version, model, counters, fleet, pool, isConnected, reticketed } = facts;
  return {
    status: status.kind,
    version,
    shortcuts: [...facts.shortcuts],
    ...("loading" in status ? { loading: { ...status.loading } } : {}),
    model: model === undefined ? null : { ...model, note: modelNote(model) },
    queue: { waiting: facts.waiting, unfinished: facts.unfinished },
    workers: [],
    counters: {
      ...{ stale: counters.stale, garbage: counters.garbage, restarts: 0 },
      ...counters.jobs,
      previews: counters.previews,
      previews_dropped: counters.previewsDropped,
      cancelled_device_seconds: counters.cancelledDeviceSeconds,
    },
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
