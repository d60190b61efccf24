/** A fleet where a test asked for a server: a gateway and two nodes in this process, their workers, and a NATS server. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { RunningServer } from "../../src/runtime.ts";
import { eventually } from "./eventually.ts";
import type { FleetHealth } from "./fleet-processes.ts";
import { NatsCluster } from "./nats-cluster.ts";
import { openNatsFleet } from "./nats-fleet.ts";
import { devicesOf, runTestServer, type TestServer, type TestServerOptions } from "./server.ts";

const NODES = ["one", "two"];

export async function startTestFleet(options: TestServerOptions): Promise<TestServer> {
  const directory = await mkdtemp(join(tmpdir(), "latentcast-test-fleet-"));
  const nats = await NatsCluster.start({ size: 1 });
  const streams = await openNatsFleet(nats);
  const start = (role: string, name: string): Promise<RunningServer> =>
    runTestServer(join(directory, name), {
      ...options,
      env: {
        ...options.env,
        LATENTCAST_NATS_URL: nats.url,
        LATENTCAST_CLUSTER: streams.layout.prefix,
        LATENTCAST_ROLE: role,
        ...(role === "node" ? { LATENTCAST_NODE_NAME: name } : {}),
      },
    });
  const gateway = await start("gateway", "gateway");
  const nodes = await Promise.all(NODES.map((name) => start("node", name)));
  let closed: Promise<void> | undefined;
  const end = async (): Promise<void> => {
    await Promise.all([gateway, ...nodes].map((server) => server.close()));
    await streams[Symbol.asyncDispose]();
    await nats[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  };
  const close = (): Promise<void> => (closed ??= end());
  return {
    ...gateway,
    close,
    devices: () => devicesOf(nodes),
    ready: async () => {
      await eventually(async () => {
        const { cluster } = (await (await fetch(`${gateway.url}/health`)).json()) as FleetHealth;
        const ready = cluster.nodes.filter(({ state }) => state === "ready").length;
        if (ready !== NODES.length) throw new Error(`${ready} nodes take work`);
      });
      await gateway.jobs.modelLoaded(AbortSignal.timeout(60_000));
    },
    [Symbol.asyncDispose]: close,
  };
}
