/** A fleet in one process: gateways and nodes of durable requests on a network in memory. Devices do what a test says. */
import pino from "pino";
import { HeldTickets } from "../../src/cluster/node/held-tickets.ts";
import { Layout } from "../../src/cluster/layout.ts";
import type { FleetObserver } from "../../src/cluster/observer.ts";
import type { ClusterQueue } from "../../src/cluster/requests/cluster-queue.ts";
import type { Reconciler } from "../../src/cluster/requests/reconciler.ts";
import { RequestGateway } from "../../src/cluster/requests/request-gateway.ts";
import { FleetObjectStore } from "../../src/cluster/storage/file-store.ts";
import type { FleetRequestStore } from "../../src/cluster/storage/fleet-requests.ts";
import { FleetStateStore } from "../../src/cluster/storage/state-store.ts";
import type { ObjectStore } from "../../src/storage/object-store.ts";
import type { RequestMap } from "../../src/cluster/requests/request-map.ts";
import { RequestNode } from "../../src/cluster/requests/request-node.ts";
import { ticket, type NodeBeat } from "../../src/cluster/wire.ts";
import { latentcastDialect } from "../../src/dialects/latentcast/dialect.ts";
import { InputMemory } from "../../src/images/input-memory.ts";
import { InputReader } from "../../src/images/source.ts";
import { PublishedImages } from "../../src/storage/published-images.ts";
import { readObject } from "../../src/storage/read-object.ts";
import { FakeJobs } from "./fake-jobs.ts";
import { fleetStore } from "./fleet-store.ts";
import { MemoryNetwork, type MemoryBus } from "./memory-bus.ts";
import { openSqliteStore } from "./sqlite-store.ts";

const POOLS = ["default", "big"];
const log = pino({ level: "silent" });

export interface MemoryGateway {
  readonly bus: MemoryBus;
  readonly store: FleetRequestStore;
  readonly objects: ObjectStore;
  readonly map: RequestMap;
  readonly queue: ClusterQueue;
  readonly reconciler: Reconciler;
  readonly jobs: FakeJobs;
  /** This gateway finds that a node died. */
  mourn(node: Pick<MemoryNode, "name" | "beat">): void;
}

export interface MemoryNode {
  readonly name: string;
  readonly bus: MemoryBus;
  readonly jobs: FakeJobs;
  readonly durable: RequestNode;
  readonly beat: NodeBeat;
  /** Takes one ticket, or finds that there is none. */
  pull(): Promise<boolean>;
}

/** @param stores Where requests and images are kept: beside the network, or in its streams as a fleet keeps them. */
export async function memoryFleet(stores: "beside" | "streams" = "beside") {
  const layout = new Layout({ pools: POOLS, ticketAckWaitMs: 60_000, hookAckWaitMs: 100 });
  const network = new MemoryNetwork(layout);
  const disk = stores === "beside" ? await openSqliteStore() : undefined;
  const beside = disk && { store: fleetStore(disk.requests), objects: disk.objects };
  const closing = new AbortController();
  const nodes: MemoryNode[] = [];
  /** Nodes that nobody hears any more. */
  const unheard = new Set<string>();
  const heard = (): NodeBeat[] => nodes.filter(({ name }) => !unheard.has(name)).map(({ beat }) => beat);
  const storesOf = (bus: MemoryBus) => {
    const kept = { bus, layout, keepMs: 3_600_000 };
    const { store, objects } = beside ?? { store: new FleetStateStore(kept), objects: new FleetObjectStore(kept) };
    const readFile = (key: string): Promise<Buffer | undefined> => readObject(objects, key);
    const inputReader = new InputReader({ memory: new InputMemory(2 ** 30), readFile });
    return { store, objects, inputReader };
  };

  const gateway = async (name: string, observer: FleetObserver = {}): Promise<MemoryGateway> => {
    const bus = network.connect();
    const { store, objects, inputReader } = storesOf(bus);
    const mourners: ((last: NodeBeat) => void)[] = [];
    const fleet = {
      get nodes() {
        return heard();
      },
      isHearing: true,
      isAlive: (node: string) => heard().some((beat) => beat.name === node),
      onDeath: (mourn: (last: NodeBeat) => void) => void mourners.push(mourn),
    };
    const jobs = new FakeJobs();
    const parts = new RequestGateway({
      ...{ bus, layout, fleet, store, log, inputReader, observer, gateway: name },
      jobs,
      dialect: () => latentcastDialect,
      // Models are called as their pools.
      pools: {
        poolFor: ({ model }) => model ?? "default",
        problemOf: (pool) => (heard().some((node) => node.pool === pool) ? undefined : `no node of pool ${pool}`),
      },
      ownPool: "default",
      closing: closing.signal,
    });
    const { map, queue, reconciler } = parts;
    // Its timers are not started: each law does by hand what they do.
    map.start();
    await map.caughtUp(closing.signal);
    return {
      ...{ bus, store, objects, map, queue, reconciler, jobs },
      mourn: ({ name: dead, beat }) => {
        unheard.add(dead);
        for (const mourn of mourners) mourn(beat);
      },
    };
  };

  const node = (
    name: string,
    { pool = "default", ...observer }: FleetObserver & { pool?: string } = {},
  ): MemoryNode => {
    const bus = network.connect();
    const { store, objects, inputReader } = storesOf(bus);
    const images = new PublishedImages(objects);
    const jobs = new FakeJobs();
    const held = new HeldTickets();
    const incarnation = `${name}-1`;
    const fleet = {
      get nodes() {
        return heard();
      },
      isHearing: true,
    };
    const durable = new RequestNode({
      ...{ bus, layout, fleet, jobs, store, images, inputReader, log, observer, pool, node: name },
      dialect: () => latentcastDialect,
      closing: closing.signal,
      incarnation: () => incarnation,
      onCondemned: () => undefined,
    });
    const made: MemoryNode = {
      ...{ name, bus, jobs, durable },
      get beat() {
        return { name, incarnation, pool, held: held.list } as NodeBeat;
      },
      pull: async () => {
        const delivery = await bus.pull(layout.tickets(pool, "n"), { expiresMs: 50 });
        if (delivery === undefined) return false;
        await durable.take(delivery, ticket.parse(delivery.header), held);
        return true;
      },
    };
    nodes.push(made);
    return made;
  };

  return {
    ...{ layout, network, gateway, node },
    ...storesOf(network.connect()),
    [Symbol.asyncDispose]: async () => {
      closing.abort();
      await disk?.[Symbol.asyncDispose]();
    },
  };
}

export type MemoryFleet = Awaited<ReturnType<typeof memoryFleet>>;
