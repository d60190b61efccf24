/** A fleet for benchmarks: three NATS servers, gateways and nodes as processes, sleeping devices. */
import { NatsCluster } from "../../test/support/nats-cluster.ts";
import { openNatsFleet } from "../../test/support/nats-fleet.ts";
import { eventually } from "../../test/support/eventually.ts";
import type { Settings } from "./figures.ts";
import { startProgram, scratchFolder, type BenchServer } from "./processes.ts";
import { serverEnvironment } from "./servers.ts";

const START_MS = 90_000;

export interface BenchFleet extends AsyncDisposable {
  readonly gateway: BenchServer;
  /** Resolves when the gateway knows that it takes work. @param stepMs Of its device. */
  addNode(stepMs: number): Promise<BenchServer>;
}

export async function startNatsCluster(): Promise<NatsCluster> {
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
      ...extra,
    });
    started.push(server);
    return server;
  };
  const gateway = await start("gateway");
  return {
    gateway,
    addNode: async (stepMs) => {
      const node = await start("node", { LATENTCAST_WORKER_BENCH_STEP_MS: String(stepMs) });
      nodes += 1;
      await eventually(async () => {
        if ((await readyNodes(gateway.url)) < nodes) throw new Error("the node takes no work yet");
      }, START_MS);
      return node;
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
