/** What an operator does with a fleet: makes its streams, and looks at it. NATS is loaded here on use. */
import { hostname } from "node:os";
import { pause } from "../../async/timer.ts";
import type { Config } from "../../config.ts";
import { BusForbidden, BusRefusal, BusUnavailable, NO_MAJORITY, type Bus } from "../bus.ts";
import { Layout, type LayoutOptions } from "../layout.ts";
import type { SetupStep } from "../nats/setup.ts";
import { poolModels, poolProblems, poolStatus, sharedNames, type PoolStatus } from "./pool-status.ts";
import { RecordStream } from "../storage/records.ts";
import { laxServers } from "../nats/sync-check.ts";
import { anyBeat, heartbeat, WIRE_VERSION, type GatewayBeat, type NodeBeat } from "../wire.ts";

export type OperatorConfig = Pick<
  Config,
  "natsUrls" | "natsCreds" | "natsCa" | "cluster" | "clusterReplicas" | "storeLimitBytes" | "pool"
>;

/** Two heartbeats of everybody, and one that is late. */
const LISTEN_MS = 2_500;
/** Of a hundred thousand records, if need be. */
const RECORDS_MS = 30_000;
const FULL = 0.8;

export interface FleetStatus {
  readonly nodes: readonly NodeBeat[];
  readonly gateways: number;
  /** Durable requests, by what becomes of them. */
  readonly requests: Readonly<Record<"queued" | "running" | "ended", number>>;
  readonly pools: Readonly<Record<string, PoolStatus>>;
  readonly webhooks: number;
  readonly streams: Readonly<Record<string, { readonly bytes: number; readonly maxBytes: number }>>;
  /** One sentence for each thing that is wrong. */
  readonly problems: readonly string[];
}

/** Makes and upgrades everything that a fleet keeps in NATS. Running it again changes nothing. */
export async function initFleet(config: OperatorConfig, pools: readonly string[]): Promise<readonly SetupStep[]> {
  const [{ connectToNats }, { setUp }] = await Promise.all([import("../nats/connect.ts"), import("../nats/setup.ts")]);
  const layout = new Layout(layoutOptions(config, pools));
  const connection = await connectToNats(connectOptions(config, layout));
  try {
    return await setUp(connection, layout, config.clusterReplicas);
  } finally {
    await connection.close();
  }
}

/** What is known of pools that are no longer wanted. A node that joins one makes it known again. */
export async function forgetPools(config: OperatorConfig, pools: readonly string[]): Promise<void> {
  const layout = new Layout({ cluster: config.cluster });
  const bus = await connect(config, layout, () => undefined);
  try {
    for (const pool of pools) await bus.purge(layout.streams.state, layout.pool(pool));
  } finally {
    await bus.close();
  }
}

export async function fleetStatus(
  config: OperatorConfig,
  monitors: readonly string[] | undefined,
  signal: AbortSignal,
): Promise<FleetStatus> {
  const layout = new Layout({ cluster: config.cluster });
  const problems: string[] = [];
  const bus = await connect(config, layout, (text) => problems.push(text));
  try {
    const [heard, lax] = await Promise.all([listen(bus, layout, signal), laxServers(config.natsUrls, monitors)]);
    const { nodes, gateways } = heard;
    const kept = await look(bus, layout, config.pool, nodes);
    const own = new Set(gateways.map(({ pool }) => pool ?? config.pool));
    const rivals = sharedNames(kept.pools, own.size === 0 ? [config.pool] : [...own]);
    const ofNodes = [...heard.problems, ...nodeProblems(nodes)];
    const all = [...problems, ...lax, ...kept.problems, ...ofNodes, ...poolProblems(kept.pools), ...rivals];
    return { nodes, gateways: gateways.length, ...kept, problems: all };
  } finally {
    await bus.close();
  }
}

/** Most of the room goes to files, the rest is for what must not give way. */
function layoutOptions({ cluster, storeLimitBytes }: OperatorConfig, pools: readonly string[]): LayoutOptions {
  const share = (part: number): number => Math.floor(storeLimitBytes * part);
  return { cluster, pools, filesBytes: share(0.7), inputBytes: share(0.2), stateBytes: share(0.1) };
}

function connectOptions({ natsUrls, natsCreds, natsCa }: OperatorConfig, layout: Layout) {
  return {
    urls: natsUrls,
    credsFile: natsCreds ?? undefined,
    caFile: natsCa ?? undefined,
    inbox: layout.inbox("operator"),
    name: `latentcast-operator ${hostname()}`,
  };
}

async function connect(config: OperatorConfig, layout: Layout, warn: (text: string) => void): Promise<Bus> {
  const { NatsBus } = await import("../nats/bus.ts");
  return NatsBus.connect({ ...connectOptions(config, layout), warn });
}

interface Heard {
  readonly nodes: readonly NodeBeat[];
  readonly gateways: readonly GatewayBeat[];
  readonly problems: readonly string[];
}

async function listen(bus: Bus, layout: Layout, signal: AbortSignal): Promise<Heard> {
  const nodes = new Map<string, NodeBeat>();
  const gateways = new Map<string, GatewayBeat>();
  const strangers = new Map<string, string>();
  const listening = bus.subscribe(layout.heartbeat, ({ header }) => {
    const beat = heartbeat.safeParse(header).data;
    if (beat?.kind === "node") nodes.set(beat.name, beat);
    if (beat?.kind === "gateway") gateways.set(beat.incarnation, beat);
    if (beat === undefined) noteStranger(strangers, header);
  });
  await pause(LISTEN_MS, signal);
  listening.close();
  const living = [...nodes.values()].filter(({ state }) => state !== "gone");
  return { nodes: living, gateways: [...gateways.values()], problems: [...strangers.values()] };
}

/** It takes part in the fleet, and no process of this release understands it. */
function noteStranger(strangers: Map<string, string>, header: unknown): void {
  const { data } = anyBeat.safeParse(header);
  if (data === undefined) return;
  const speaks = `speaks version ${data.v} of the fleet's messages, and this program version ${WIRE_VERSION}`;
  strangers.set(data.name, `${data.name} is of release ${data.version}, which ${speaks}: they cannot work together`);
}

/** What the servers keep. Where they do not answer, one sentence says so and the rest is left out: each question would wait for ten seconds. */
export async function look(
  bus: Bus,
  layout: Layout,
  own: string,
  nodes: readonly NodeBeat[],
): Promise<Omit<FleetStatus, "nodes" | "gateways">> {
  const problems: string[] = [];
  let isAnswering = true;
  const streams: Record<string, { bytes: number; maxBytes: number }> = {};
  const away = new Set<string>();
  const counts = { queued: 0, running: 0, ended: 0 };
  const pools: Record<string, PoolStatus> = {};
  const read = async (what: string, work: () => Promise<void>): Promise<void> => {
    if (!isAnswering) return;
    try {
      await work();
    } catch (error) {
      isAnswering = !(error instanceof BusUnavailable);
      if (!isAnswering) return void problems.push(`${what}: ${NO_MAJORITY}`);
      problems.push(`${what}: ${error instanceof Error ? error.message : String(error)}${adviceFor(error)}`);
    }
  };
  for (const name of Object.values(layout.streams))
    await read(`stream ${name}`, async () => {
      const { bytes, maxBytes, awayServers } = await bus.fill(name);
      for (const server of awayServers) away.add(server);
      streams[name] = { bytes, maxBytes };
      // Files give way to newer ones, so theirs is full sooner or later.
      if (name !== layout.streams.files && bytes > FULL * maxBytes)
        problems.push(`stream ${name} is ${Math.round((100 * bytes) / maxBytes)} % full: new requests are refused`);
    });
  for (const server of away) problems.push(`NATS server ${server} is away: its copies are missing until it is back`);
  let models = new Map<string, string>();
  if (streams[layout.streams.state] !== undefined)
    await read("pools", async () => {
      models = await poolModels(bus, layout);
    });
  for (const pool of new Set([own, ...nodes.map((node) => node.pool), ...models.keys()]))
    await read(`pool ${pool}`, async () => {
      pools[pool] = await poolStatus(bus, layout, { pool, nodes, model: models.get(pool) ?? null });
    });
  let webhooks = 0;
  await read("webhooks", async () => {
    const { waiting, delivered } = await bus.pending(layout.hooks);
    webhooks = waiting + delivered;
  });
  if (streams[layout.streams.state] !== undefined)
    await read("requests", async () => {
      const { heads, unreadable } = await new RecordStream(bus, layout).heads(AbortSignal.timeout(RECORDS_MS));
      for (const { head } of heads) counts[head.kind] += 1;
      if (unreadable > 0)
        problems.push(`${unreadable} record(s) of requests are damaged or of another release, and left alone`);
    });
  return { streams, requests: counts, pools, webhooks, problems };
}

function adviceFor(error: unknown): string {
  if (error instanceof BusForbidden) return "; use those of the operator";
  return error instanceof BusRefusal ? "; run `latentcast cluster init`" : "";
}

function nodeProblems(nodes: readonly NodeBeat[]): string[] {
  const faulty = nodes.flatMap(({ name, state, reason }) =>
    state === "failed" || state === "mismatch"
      ? [`node ${name} takes no work (${state}): ${reason ?? "no reason given"}`]
      : [],
  );
  return nodes.some(({ state }) => state === "ready") ? faulty : ["no node is ready to draw", ...faulty];
}
