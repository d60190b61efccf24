import { Registry } from "prom-client";
import { describe, expect, it, vi } from "vitest";
import { FleetMetrics } from "../../../src/observability/fleet-metrics.ts";
import { watchServers } from "../../../src/observability/server-gauges.ts";
import type { Job } from "../../../src/jobs/job.ts";

async function samplesOf(registry: Registry): Promise<string[]> {
  return (await registry.metrics()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
}

/** Only these fields are read. */
const jobWith = (facts: Partial<Job> = {}): Job => facts as Job;

describe("the hops of a direct request", () => {
  it("are counted once each, with what they took, whatever runs follow", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    const registry = new Registry();
    const metrics = new FleetMetrics(registry, "big");
    const job = jobWith();
    metrics.ticketed(job, "small", 0.002);
    vi.advanceTimersByTime(200);
    metrics.claimed(job, "node", "small");
    vi.advanceTimersByTime(30);
    metrics.started(job);
    job.firstPreviewAtMs = performance.now() + 40;
    // Its node dies, another one begins it again.
    metrics.claimed(job, "node", "small");
    metrics.started(job);
    metrics.finished(job);
    vi.useRealTimers();
    const samples = await samplesOf(registry);
    const sums = ["ticket", "claim", "start", "preview"].map((hop) =>
      samples.find((line) => line.startsWith(`latentcast_cluster_hop_seconds_sum{pool="small",hop="${hop}"}`)),
    );
    expect(sums.map((line) => Number(line?.split(" ")[1]).toFixed(3))).toEqual(["0.002", "0.200", "0.030", "0.040"]);
    for (const hop of ["ticket", "claim", "start", "preview"])
      expect(samples).toContain(`latentcast_cluster_hop_seconds_count{pool="small",hop="${hop}"} 1`);
  });

  it("have no wait where a node was faster than the queue's answer", async () => {
    const registry = new Registry();
    const metrics = new FleetMetrics(registry, "big");
    const job = jobWith();
    metrics.claimed(job, "node", "small");
    metrics.ticketed(job, "small", 1);
    metrics.started(job);
    const samples = await samplesOf(registry);
    expect(samples).toContain('latentcast_cluster_hop_seconds_sum{pool="small",hop="claim"} 0');
    for (const hop of ["ticket", "claim", "start"])
      expect(samples).toContain(`latentcast_cluster_hop_seconds_count{pool="small",hop="${hop}"} 1`);
  });

  it("are none for a job of this machine's own", async () => {
    const registry = new Registry();
    const metrics = new FleetMetrics(registry, "big");
    const job = jobWith({ firstPreviewAtMs: 1 });
    metrics.started(job);
    metrics.finished(job);
    expect((await samplesOf(registry)).filter((line) => line.includes("hop_seconds"))).toEqual([]);
  });
});

it("a run that is thrown away counts with the device time of its steps, once", async () => {
  const registry = new Registry();
  const metrics = new FleetMetrics(registry, "big");
  const [wasted, counted] = [jobWith(), jobWith()];
  for (const job of [wasted, counted]) for (const seconds of [0.25, 0.5]) metrics.step(job, seconds);
  metrics.runWasted(wasted);
  metrics.runWasted(wasted);
  expect(await samplesOf(registry)).toContain('latentcast_cluster_duplicate_work_seconds_total{pool="big"} 0.75');
});

it("what a node does for its pool is counted for that pool", async () => {
  const registry = new Registry();
  const metrics = new FleetMetrics(registry, "big");
  expect(await samplesOf(registry)).toEqual(['latentcast_cluster_duplicate_work_seconds_total{pool="big"} 0']);
  metrics.ticketPulled("direct", 1);
  metrics.ticketClaimed("queued", 1);
  metrics.ticketRedelivered("direct");
  const samples = await samplesOf(registry);
  expect(samples).toContain('latentcast_cluster_ticket_age_seconds_count{pool="big",kind="direct"} 1');
  expect(samples).toContain('latentcast_cluster_claim_seconds_count{pool="big",kind="queued"} 1');
  expect(samples).toContain('latentcast_cluster_redelivered_total{pool="big",kind="direct"} 1');
});

describe("the NATS servers", () => {
  it("are shown as they are at the scrape, without what was not answered", async () => {
    const registry = new Registry();
    let isAnswering = true;
    const state = { stream: "LC_STATE", bytes: 10, maxBytes: 100, awayServers: 1 };
    watchServers(registry, () =>
      Promise.resolve(
        isAnswering ? { roundTripSeconds: 0.001, streams: [state] } : { roundTripSeconds: undefined, streams: [] },
      ),
    );
    expect(await samplesOf(registry)).toEqual([
      "latentcast_cluster_nats_rtt_seconds 0.001",
      'latentcast_cluster_stream_bytes{stream="LC_STATE"} 10',
      'latentcast_cluster_stream_limit_bytes{stream="LC_STATE"} 100',
      'latentcast_cluster_stream_servers_away{stream="LC_STATE"} 1',
    ]);
    isAnswering = false;
    expect(await samplesOf(registry)).toEqual([]);
  });

  it("are none on a server that is alone", async () => {
    const registry = new Registry();
    watchServers(registry, undefined);
    expect(await samplesOf(registry)).toEqual([]);
  });
});
