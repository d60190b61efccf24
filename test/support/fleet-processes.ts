/** Gateways and nodes in processes of their own, on the NATS servers of a test. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Bus } from "../../src/cluster/bus.ts";
import type { Layout, LayoutOptions } from "../../src/cluster/layout.ts";
import { eventually } from "./eventually.ts";
import { Judge } from "./judge.ts";
import type { NatsCluster } from "./nats-cluster.ts";
import { openNatsFleet, type NatsFleet } from "./nats-fleet.ts";
import { startServerProcess, type ServerProcess } from "./server-process.ts";

export interface FleetHealth {
  readonly status: string;
  readonly queue: { readonly waiting: number; readonly unfinished: number };
  readonly workers: readonly { readonly jobs: number }[];
  readonly cluster: {
    readonly nodes: readonly { readonly name: string; readonly state: string; readonly jobs: number }[];
  };
}

export class FleetProcesses implements AsyncDisposable {
  readonly #cluster: NatsCluster;
  readonly #fleet: NatsFleet;
  readonly #folder: string;
  readonly #processes: ServerProcess[] = [];

  private constructor(cluster: NatsCluster, fleet: NatsFleet, folder: string) {
    this.#cluster = cluster;
    this.#fleet = fleet;
    this.#folder = folder;
  }

  /** Streams of its own on the servers. */
  static async open(cluster: NatsCluster, options?: LayoutOptions): Promise<FleetProcesses> {
    return new FleetProcesses(
      cluster,
      await openNatsFleet(cluster, options),
      await mkdtemp(join(tmpdir(), "latentcast-fleet-")),
    );
  }

  gateway(env: Readonly<Record<string, string>> = {}): Promise<ServerProcess> {
    return this.#start({ LATENTCAST_ROLE: "gateway", ...env });
  }

  /** Resolves when a gateway would send it work. @param worker A fixture. */
  async node(name: string, env: Readonly<Record<string, string>> = {}, worker?: string): Promise<ServerProcess> {
    const node = await this.#start({ LATENTCAST_ROLE: "node", LATENTCAST_NODE_NAME: name, ...env }, worker);
    await eventually(async () => {
      if ((await fetch(`${node.url}/ready`)).status !== 200) throw new Error(`${name} is not ready`);
    }, 60_000);
    return node;
  }

  /** Resolves when the gateway knows that so many nodes take work. */
  async knows(gateway: ServerProcess, nodes: number): Promise<void> {
    await eventually(async () => {
      const { cluster } = await healthOf(gateway);
      const ready = cluster.nodes.filter(({ state }) => state === "ready").length;
      if (ready !== nodes) throw new Error(`${ready} nodes take work`);
    }, 60_000);
  }

  /** The last lines of every process. */
  get log(): string[] {
    return this.#processes.flatMap(({ log, url }) => log.slice(-20).map((line) => `${url} ${line}`));
  }

  get layout(): Layout {
    return this.#fleet.layout;
  }

  /** A connection of the test's own. */
  connect(): Promise<Bus> {
    return this.#fleet.connect();
  }

  /** Reads along from now on. */
  async judge(): Promise<Judge> {
    return new Judge(await this.connect(), this.layout);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#processes.map((each) => each.kill()));
    await this.#fleet[Symbol.asyncDispose]();
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #start(env: Readonly<Record<string, string>>, worker?: string): Promise<ServerProcess> {
    const started = await startServerProcess({
      ...(worker === undefined ? {} : { worker }),
      dataDir: join(this.#folder, String(this.#processes.length)),
      env: {
        LATENTCAST_NATS_URL: this.#cluster.url,
        LATENTCAST_CLUSTER: this.#fleet.layout.prefix,
        LATENTCAST_CACHE_DIR: join(this.#folder, "cache"),
        LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.03",
        ...env,
      },
    });
    this.#processes.push(started);
    return started;
  }
}

export async function healthOf({ url }: ServerProcess): Promise<FleetHealth> {
  return (await (await fetch(`${url}/health`)).json()) as FleetHealth;
}
