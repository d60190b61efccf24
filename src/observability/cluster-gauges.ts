/** What a gateway knows of its fleet, read when Prometheus asks. On a server that is alone they have no samples. */
import { Counter, Gauge, type Registry } from "prom-client";
import type { Jobs } from "../jobs/jobs.ts";
import type { ServiceSnapshot } from "../schema/health.ts";

type Cluster = NonNullable<ServiceSnapshot["cluster"]>;

const STATES = ["loading", "ready", "draining", "failed", "mismatch"];

/** @param counted What the snapshot does not know. */
export function watchCluster(
  registry: Registry,
  jobs: Jobs,
  counted: { readonly reticketedRequests: number } = { reticketedRequests: 0 },
): void {
  const registers = [registry];

  gauge(
    "waiting",
    "Jobs that no node has begun, direct and queued ones of all gateways, by pool. Each gateway sees nearly the same: take the maximum.",
    ["pool"],
    (metric, { pools }) => {
      for (const { name: pool, waiting } of pools) metric.set({ pool }, waiting);
    },
  );
  gauge(
    "claimed",
    "Jobs that the nodes of a pool hold, whichever gateway they are from.",
    ["pool"],
    (metric, { pools, nodes }) => {
      for (const { name: pool } of pools) metric.set({ pool }, 0);
      for (const { pool, jobs: held } of nodes) metric.inc({ pool }, held);
    },
  );
  gauge("devices", "Devices that take jobs, by pool.", ["pool"], (metric, { pools, nodes }) => {
    for (const { name: pool } of pools) metric.set({ pool }, 0);
    for (const { pool, state, devices } of nodes) metric.inc({ pool }, state === "ready" ? devices.length : 0);
  });
  gauge("nodes", "Nodes that are heard, by pool and state.", ["pool", "state"], (metric, { pools, nodes }) => {
    for (const pool of new Set([...pools.map(({ name }) => name), ...nodes.map((node) => node.pool)]))
      for (const state of STATES) metric.set({ pool, state }, 0);
    for (const { pool, state } of nodes) metric.inc({ pool, state });
  });
  gauge("gateways", "Gateways that are heard, this one included.", [], (metric, { gateways }) => metric.set(gateways));
  gauge("connected", "1 while NATS is reached.", [], (metric, { connected }) => metric.set(connected ? 1 : 0));
  total("deaths_total", "Nodes that this gateway has seen die.", ({ deaths }) => deaths);
  total(
    "reticketed_total",
    "Tickets that were lost and that this gateway made again.",
    ({ reticketed }) => reticketed + counted.reticketedRequests,
  );

  function gauge(
    name: string,
    help: string,
    labelNames: readonly string[],
    collect: (metric: Gauge, cluster: Cluster) => void,
  ): void {
    new Gauge({
      name: `latentcast_cluster_${name}`,
      help,
      labelNames: [...labelNames],
      registers,
      collect() {
        this.reset();
        const { cluster } = jobs.snapshot();
        if (cluster !== undefined) collect(this, cluster);
        // One without labels has a sample of 0 after a reset.
        else if (labelNames.length === 0) this.remove();
      },
    });
  }

  function total(name: string, help: string, read: (cluster: Cluster) => number): void {
    new Counter({
      name: `latentcast_cluster_${name}`,
      help,
      registers,
      collect() {
        this.reset();
        const { cluster } = jobs.snapshot();
        if (cluster !== undefined) this.inc(read(cluster));
      },
    });
  }
}
