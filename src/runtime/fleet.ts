/** A process's part in a fleet: the connection, who else is there, and by role a gateway, a node, or both. */
import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import type { Logger } from "pino";
import type { Disposers } from "../async/disposers.ts";
import { BusForbidden, BusRefusal, BusUnavailable, NO_MAJORITY, type Bus } from "../cluster/bus.ts";
import { Fleet } from "../cluster/fleet/fleet.ts";
import { ServerReadings } from "../cluster/fleet/server-readings.ts";
import { Gateway } from "../cluster/gateway/gateway.ts";
import { Layout } from "../cluster/layout.ts";
import { LoadChanges } from "../cluster/node/load-changes.ts";
import { Node } from "../cluster/node/node.ts";
import type { PullRule } from "../cluster/node/pull-rule.ts";
import type { FleetObserver, ServerReading } from "../cluster/observer.ts";
import { openBus } from "../cluster/open-bus.ts";
import type { QueuePools } from "../cluster/requests/cluster-queue.ts";
import { RequestNode } from "../cluster/requests/request-node.ts";
import { ConfigError, type Config } from "../config.ts";
import type { JobObserver } from "../jobs/observer.ts";
import type { Jobs } from "../jobs/jobs.ts";
import type { JobService } from "../jobs/service.ts";
import { dialectNamed } from "../dialects/registry.ts";
import type { InputReader } from "../images/source.ts";
import { packageVersion } from "../package-info.ts";
import type { Storage } from "../storage/open.ts";
import { PublishedImages } from "../storage/published-images.ts";
import { openFleetStorage } from "./fleet-storage.ts";

export interface FleetConnection {
  readonly bus: Bus;
  readonly layout: Layout;
  readonly fleet: Fleet;
  /** Of this process, unlike that of any other. */
  readonly name: string;
  /** Of this process. */
  readonly incarnation: () => string;
  /** It was found dead: it goes on as another process would. */
  readonly reincarnate: () => void;
  /** Counts what happens between the machines. */
  readonly observer: FleetObserver;
  /** How the servers between the machines are. */
  readonly readServers: () => Promise<ServerReading>;
}

export interface ConnectOptions {
  readonly log: Logger;
  readonly open: Disposers;
  readonly observer: FleetObserver;
}

/** Rejects with a {@link ConfigError} that says in one sentence what is missing. Closes with `open`. */
export async function connectToFleet(
  config: Config,
  { log, open, observer }: ConnectOptions,
): Promise<FleetConnection> {
  const layout = new Layout({ cluster: config.cluster });
  const role = config.role === "all" ? "server" : config.role;
  const bus = await openBus({ config, layout, role, warn: (text) => log.warn(text), observer });
  open.add(() => bus.close());
  await checkSetUp(bus, layout, config);
  let current = newIncarnation();
  const name = config.nodeName ?? `${hostname()}-${current.slice(0, 4)}`;
  const incarnation = (): string => current;
  const fleet = new Fleet({ bus, layout, incarnation });
  fleet.start();
  open.add(() => fleet.close());
  const reincarnate = (): void => void (current = newIncarnation());
  // Nodes may not ask about streams.
  const readings = new ServerReadings({ bus, streams: role === "node" ? [] : Object.values(layout.streams) });
  const readServers = (): Promise<ServerReading> => readings.read();
  return { bus, layout, fleet, name, incarnation, reincarnate, observer, readServers };
}

function newIncarnation(): string {
  return randomBytes(6).toString("hex");
}

async function checkSetUp(bus: Bus, layout: Layout, { cluster, pool }: Config): Promise<void> {
  try {
    await bus.pending(layout.tickets(pool, "n"));
  } catch (error) {
    if (error instanceof BusUnavailable) throw new ConfigError(`--nats: ${NO_MAJORITY}.`, { cause: error });
    if (!(error instanceof BusRefusal)) throw error;
    if (error instanceof BusForbidden) {
      const message = `--nats: these credentials are not for the pool ${pool} of a fleet ${cluster}; \`latentcast cluster permissions\` prints what each user needs.`;
      throw new ConfigError(message, { cause: error });
    }
    const message = `--nats: the servers have no pool ${pool} of a fleet ${cluster}; run \`latentcast cluster init\` with the same settings once.`;
    throw new ConfigError(message, { cause: error });
  }
}

/** Its jobs are drawn by the nodes of all pools; those that name no model, by the configured one. */
export function startGateway(
  connection: FleetConnection,
  config: Config,
  {
    log,
    observers,
    open,
  }: { readonly log: Logger; readonly observers: readonly JobObserver[]; readonly open: Disposers },
): Gateway {
  // A gateway and a node of one process go by one name, and are different things.
  const gateway = new Gateway({
    ...connection,
    pool: config.pool,
    version: packageVersion(),
    ...{ config, log, observers },
  });
  open.add(() => gateway.close());
  gateway.start();
  return gateway;
}

/** What a process draws or has drawn, and how that ends. */
export interface ServedJobs {
  readonly jobs: Jobs;
  /** Of a gateway. */
  readonly pools?: QueuePools;
  /** Of a node: how it stands in its pool. */
  readonly membership?: Pick<Node, "problem" | "joined">;
  /** Refuses what is new, finishes what was accepted, at most for `timeoutMs`. */
  drain(timeoutMs: number): Promise<void>;
  /** Cancels everything. May be called in the middle of a drain, and again. */
  close(): Promise<void>;
}

export interface FleetNode extends ServedJobs {
  readonly jobs: JobService;
}

export interface StartNodeOptions {
  readonly config: Config;
  readonly log: Logger;
  /** Fires when the process ends. */
  readonly closing: AbortSignal;
  /** What durable requests start from. */
  readonly openInputs: (storage: Storage) => InputReader;
  /** Starts the workers of this machine. */
  readonly startJobs: (changes: JobObserver) => Promise<JobService>;
  /** When a device asks for more; the usual one if absent. */
  readonly rule?: PullRule | undefined;
}

export async function startNode(
  connection: FleetConnection,
  { config, log, closing, openInputs, startJobs, rule }: StartNodeOptions,
): Promise<FleetNode> {
  const changes = new LoadChanges();
  const jobs = await startJobs(changes);
  const storage = openFleetStorage(connection, config);
  const requests = new RequestNode({
    ...connection,
    ...{ jobs, log, closing, node: connection.name, pool: config.pool },
    store: storage.requests,
    images: new PublishedImages(storage.objects),
    inputReader: openInputs(storage),
    dialect: dialectNamed,
    onCondemned: connection.reincarnate,
  });
  requests.start();
  const { pool, nodeSlots: slots, shortcuts, maxBatch } = config;
  const node = new Node({
    ...connection,
    ...{ jobs, pool, slots, log },
    version: packageVersion(),
    facts: { shortcuts, maxBatch },
    ...(rule === undefined ? {} : { rule }),
    durable: (delivery, ticket, held) => requests.take(delivery, ticket, held),
  });
  changes.onChange = () => node.wake();
  node.start();
  return {
    jobs,
    membership: node,
    // What has not begun is handed back.
    drain: async (timeoutMs) => {
      await node.retire();
      requests.handBack();
      await jobs.drain(timeoutMs);
      await requests.close();
      await node.close();
    },
    close: async () => {
      await jobs.close();
      await requests.close();
      await node.close();
    },
  };
}

export function gatewayAlone({ jobs }: Gateway): ServedJobs {
  return { jobs, pools: jobs, drain: (timeoutMs) => jobs.drain(timeoutMs), close: () => jobs.close() };
}

/** Gateway and node in one process. */
export function bothRoles(
  { jobs }: Gateway,
  node: FleetNode,
  { fleet, name }: FleetConnection,
  pool: string,
): ServedJobs {
  return {
    jobs,
    pools: jobs,
    drain: async (timeoutMs) => {
      const hasOthers = fleet.ready(pool).some((other) => other.name !== name);
      // With nobody else to draw them, the own clients' jobs come first.
      if (!hasOthers) await jobs.drain(timeoutMs);
      await Promise.all([jobs.drain(timeoutMs), node.drain(timeoutMs)]);
    },
    close: async () => {
      await jobs.close();
      await node.close();
    },
  };
}
