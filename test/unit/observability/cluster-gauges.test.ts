import { Registry } from "prom-client";
import { expect, it } from "vitest";
import type { Jobs } from "../../../src/jobs/jobs.ts";
import { watchCluster } from "../../../src/observability/cluster-gauges.ts";
import type { ServiceSnapshot } from "../../../src/schema/health.ts";

type Cluster = NonNullable<ServiceSnapshot["cluster"]>;

/** The samples of a scrape, as Prometheus reads them. */
async function scrape(cluster: Cluster | undefined): Promise<string[]> {
  const registry = new Registry();
  const jobs = { snapshot: () => ({ cluster }) };
  // Only this field is read.
  watchCluster(registry, jobs as unknown as Jobs);
  return (await registry.metrics()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
}

const device = { slot: 0, name: "card", jobs: 2, step_seconds: 1, first_preview_seconds: 1, backlog_seconds: 1 };
const node = { pool: "default", state: "ready", reason: null, version: "1", jobs: 3, devices: [device, device] };
const fleet: Cluster = {
  ...{ pool: "default", connected: true, gateways: 2, deaths: 1, reticketed: 4 },
  pools: [
    { name: "default", model: "m", nodes: 1, waiting: 5 },
    { name: "turbo", model: "n", nodes: 1, waiting: 2 },
    { name: "away", model: "o", nodes: 0, waiting: 9 },
  ],
  nodes: [
    { ...node, name: "a" },
    { ...node, name: "b", state: "draining", jobs: 1 },
    { ...node, name: "c", pool: "turbo", jobs: 7 },
  ],
};

it("a gateway shows what waits in each pool, and what the nodes of each pool have and are", async () => {
  const samples = await scrape(fleet);
  expect(samples).toContain('latentcast_cluster_waiting{pool="default"} 5');
  expect(samples).toContain('latentcast_cluster_waiting{pool="turbo"} 2');
  expect(samples).toContain('latentcast_cluster_waiting{pool="away"} 9');
  expect(samples).toContain('latentcast_cluster_claimed{pool="default"} 4');
  expect(samples).toContain('latentcast_cluster_claimed{pool="turbo"} 7');
  expect(samples).toContain('latentcast_cluster_devices{pool="default"} 2');
  expect(samples).toContain('latentcast_cluster_nodes{pool="default",state="ready"} 1');
  expect(samples).toContain('latentcast_cluster_nodes{pool="default",state="draining"} 1');
  expect(samples).toContain("latentcast_cluster_gateways 2");
  expect(samples).toContain("latentcast_cluster_deaths_total 1");
  expect(samples).toContain("latentcast_cluster_reticketed_total 4");
});

it("a pool without nodes shows none, rather than nothing", async () => {
  const samples = await scrape({ ...fleet, nodes: [] });
  expect(samples).toContain('latentcast_cluster_nodes{pool="default",state="ready"} 0');
  expect(samples).toContain('latentcast_cluster_claimed{pool="default"} 0');
});

it("a server that is alone has no fleet to show", async () => {
  expect((await scrape(undefined)).filter((line) => /waiting|claimed|nodes|gateways|connected/.test(line))).toEqual([]);
});
