/** A fleet where a test asked for a server: a gateway and two nodes in this process, their workers, and the project's NATS server. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inject } from "vitest";
import type { RunningServer } from "../../src/runtime.ts";
import { eventually } from "./eventually.ts";
import { openNatsFleet } from "./nats-fleet.ts";
import { devicesOf, runTestServer, type TestServer, type TestServerOptions } from "./server.ts";

const NODES = ["one", "two"];
/** Two real workers that load at once take long on a crowded machine. */
const LOAD_MS = 200_000;

export async function startTestFleet(options: TestServerOptions): Promise<TestServer> {
  const directory = await mkdtemp(join(tmpdir(), "latentcast-test-fleet-"));
  const natsUrl = inject("natsUrl");
  const streams = await openNatsFleet({ urls: [natsUrl] });
  const start = (role: string, name: string): Promise<RunningServer> =>
    runTestServer(join(directory, name), {
      ...options,
      env: {
        ...options.env,
        LATENTCAST_NATS_URL: natsUrl,
        LATENTCAST_CLUSTER: streams.layout.prefix,
        LATENTCAST_ROLE: role,
        ...(role === "node" ? { LATENTCAST_NODE_NAME: name } : {}),
      },
    });
  const [gateway, ...nodes] = await Promise.all([
    start("gateway", "gateway"),
    ...NODES.map((name) => start("node", name)),
  ]);
  const heard = () => gateway.jobs.snapshot().cluster?.nodes ?? [];
  let closed: Promise<void> | undefined;
  const end = async (): Promise<void> => {
    await Promise.all([gateway, ...nodes].map((server) => server.close()));
    await streams[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  };
  const close = (): Promise<void> => (closed ??= end());
  return {
    ...gateway,
    close,
    devices: () => ({
      ...devicesOf(nodes),
      // As the gateway has heard: by that it refuses and places what comes next.
      held: heard().reduce((sum, node) => node.devices.reduce((held, { jobs }) => held + jobs, sum), 0),
    }),
    ready: async () => {
      await eventually(() => {
        const ready = heard().filter(({ state }) => state === "ready").length;
        if (ready !== NODES.length) throw new Error(`${ready} nodes take work`);
      }, LOAD_MS);
      await gateway.jobs.modelLoaded(AbortSignal.timeout(60_000));
    },
    [Symbol.asyncDispose]: close,
  };
}
