/** A fleet for benchmarks: three NATS servers, gateways and nodes as processes, sleeping devices. */
import type { Bus } from "../../src/cluster/bus.ts";
import type { Layout } from "../../src/cluster/layout.ts";
import { NatsCluster } from "../../test/support/nats-cluster.ts";
import { openNatsFleet } from "../../test/support/nats-fleet.ts";
import { eventually } from "../../test/support/eventually.ts";
import type { Settings } from "./figures.ts";
import { startProgram, scratchFolder, type BenchServer } from "./processes.ts";
import { serverEnvironment } from "./servers.ts";

const START_MS = 90_000;

export type NatsServers = NatsCluster;

export interface BenchFleet extends AsyncDisposable {
  readonly layout: Layout;
  readonly gateway: BenchServer;
  addGateway(): Promise<BenchServer>;
  /** Resolves when the gateway knows that all of them take work. @param stepsMs Of the device of each. */
  addNodes(stepsMs: readonly number[]): Promise<BenchServer[]>;
  /** A connection of this process. */
  connect(): Promise<Bus>;
}

export async function startNatsCluster(): Promise<NatsServers> {
  return NatsCluster.start();
}

/** @param rule How its nodes ask for work. */
export async function startFleet(cluster: NatsCluster, { python }: Settings, rule = "ours"): Promise<BenchFleet> {
  const streams = await openNatsFleet(cluster);
  const started: BenchServer[] = [];
  let nodes = 0;
  const start = async (role: string, extra: Readonly<Record<string, string>> = {}): Promise<BenchServer> => {
    const server = await startProgram("serve.ts", {
      ...serverEnvironment(python, scratchFolder()),
      LATENTCAST_BENCH_STUB: "1",
      LATENTCAST_BENCH_RULE: rule,
      LATENTCAST_NATS_URL: cluster.url,
      LATENTCAST_CLUSTER: streams.layout.prefix,
      LATENTCAST_ROLE: role,
      LATENTCAST_QUEUE_LIMIT: "10000",
      ...extra,
    });
    started.push(server);
    return server;
  };
  const gateway = await start("gateway");
  return {
    layout: streams.layout,
    gateway,
    addGateway: () => start("gateway"),
    connect: () => streams.connect(),
    addNodes: async (stepsMs) => {
      const added = await Promise.all(
        stepsMs.map((stepMs) => start("node", { LATENTCAST_WORKER_BENCH_STEP_MS: String(stepMs) })),
      );
      nodes += added.length;
      await eventually(async () => {
        if ((await readyNodes(gateway.url)) < nodes) throw new Error("the node takes no work yet");
      }, START_MS);
      return added;
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(started.map((server) => server[Symbol.asyncDispose]()));
      await streams[Symbol.asyncDispose]();
    },
  };
}

async function readyNodes(url: string): Promise<number> {
  const { cluster } = (await (await fetch(`${url}/health`)).json()) as { cluster: { nodes: { state: string }[] } };
  return cluster.nodes.filter(({ state }) => state === "ready").length;
}
