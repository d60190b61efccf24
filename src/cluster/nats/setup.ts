/** Makes the streams and consumers of a layout, and brings those of an earlier version up to date. Running it again changes nothing. */
import { setTimeout } from "node:timers/promises";
import { jetstreamManager, AckPolicy, DiscardPolicy, JetStreamApiError, RetentionPolicy } from "@nats-io/jetstream";
import { StorageType, type ConsumerConfig, type JetStreamManager, type StreamConfig } from "@nats-io/jetstream";
import { TimeoutError, type NatsConnection } from "@nats-io/transport-node";
import { BusRefusal, BusUnavailable } from "../bus.ts";
import type { ConsumerDefinition, Layout, StreamDefinition } from "../layout.ts";
import { FULL, TEMPORARY, toRefusal } from "./api.ts";
import { PRIORITY_GROUP } from "./pulls.ts";

/** How long a write's id is remembered. */
const DEDUPE_MS = 120_000;
const NANOSECONDS = 1_000_000;
const NOT_FOUND = new Set([10_014, 10_059]);
/** Servers that have just started, or elect a leader (4 to 9 s), refuse for a while: seen as 10049 with status 500, and as 10008. */
const [TRIES, PAUSE_MS] = [11, 1_000];
/** A single server keeps no copies. */
const NOT_CLUSTERED = 10_074;
/** Too few servers, or none with room. */
const NO_PEERS = 10_005;

export interface SetupStep {
  readonly kind: "stream" | "consumer";
  readonly name: string;
  readonly done: "made" | "changed" | "unchanged";
  /** The settings that were changed. */
  readonly settings: readonly string[];
}

/** Rejects with a {@link BusRefusal} naming the stream or consumer that cannot be made, or with {@link BusUnavailable}. */
export async function setUp(
  connection: NatsConnection,
  layout: Layout,
  replicas: number,
): Promise<readonly SetupStep[]> {
  const manager = await jetstreamManager(connection, { checkAPI: false, timeout: 10_000 });
  const streams = layout.streamDefinitions.map((definition) => ensureStream(manager, definition, replicas));
  const made = await Promise.all(streams);
  const consumers = layout.consumerDefinitions.map((definition) => ensureConsumer(manager, definition));
  return [...made, ...(await Promise.all(consumers))];
}

function ensureStream(
  { streams }: JetStreamManager,
  definition: StreamDefinition,
  replicas: number,
): Promise<SetupStep> {
  const { name } = definition;
  const wanted = streamConfig(definition, replicas);
  return ensure("stream", name, {
    wanted,
    find: async () => (await streams.info(name)).config,
    make: () => streams.add(wanted),
    change: () => streams.update(name, wanted),
  });
}

function ensureConsumer({ consumers }: JetStreamManager, definition: ConsumerDefinition): Promise<SetupStep> {
  const { stream, name } = definition;
  const wanted = consumerConfig(definition);
  return ensure("consumer", `${stream} ${name}`, {
    wanted,
    find: async () => (await consumers.info(stream, name)).config,
    make: () => consumers.add(stream, wanted),
    change: () => consumers.update(stream, name, wanted),
  });
}

interface Ensured {
  readonly wanted: object;
  find(): Promise<object>;
  make(): Promise<unknown>;
  change(): Promise<unknown>;
}

async function ensure(kind: SetupStep["kind"], name: string, ensured: Ensured, tries = TRIES): Promise<SetupStep> {
  try {
    return { kind, name, ...(await ensureOnce(ensured)) };
  } catch (error) {
    const mayPass = error instanceof JetStreamApiError && error.status >= 500 && error.code !== NOT_CLUSTERED;
    if (!mayPass || tries === 1) throw refusal(`${kind} ${name}`, error);
  }
  await setTimeout(PAUSE_MS);
  return ensure(kind, name, ensured, tries - 1);
}

function refusal(what: string, error: unknown): unknown {
  if (error instanceof TimeoutError) return new BusUnavailable(`${what}: no answer`, { cause: error });
  if (!(error instanceof JetStreamApiError)) return toRefusal(error);
  if (TEMPORARY.has(error.code)) return new BusUnavailable(`${what}: ${error.message}`, { cause: error });
  return new BusRefusal(`${what}: ${error.message}${adviceFor(error)}`, { cause: error });
}

function adviceFor({ code, message }: JetStreamApiError): string {
  if (FULL.has(code) || message.includes("insufficient storage"))
    return "; give the servers a larger max_file, or lower LATENTCAST_STORE_LIMIT_BYTES";
  if (code === NO_PEERS) return "; as many servers as LATENTCAST_CLUSTER_REPLICAS says have to be up";
  return code === NOT_CLUSTERED ? "; set LATENTCAST_CLUSTER_REPLICAS=1, or start three servers as one cluster" : "";
}

async function ensureOnce({ wanted, find, make, change }: Ensured): Promise<Pick<SetupStep, "done" | "settings">> {
  const found = await find().catch(ifMissing);
  if (found === undefined) {
    await make();
    return { done: "made", settings: [] };
  }
  const settings = differences(wanted, found);
  if (settings.length > 0) await change();
  return { done: settings.length > 0 ? "changed" : "unchanged", settings };
}

function ifMissing(error: unknown): undefined {
  if (error instanceof JetStreamApiError && NOT_FOUND.has(error.code)) return undefined;
  throw error;
}

/** Names of the settings that are not as wanted. What is not said is left as it is. */
function differences(wanted: object, found: object): string[] {
  const values = new Map<string, unknown>(Object.entries(found));
  const isSame = (name: string, value: unknown): boolean =>
    JSON.stringify(values.get(name) ?? absent(value)) === JSON.stringify(value);
  return Object.entries(wanted).flatMap(([name, value]) => (isSame(name, value) ? [] : [name]));
}

/** The server leaves out what is false. */
const absent = (value: unknown): unknown => (value === false ? false : undefined);

function streamConfig(
  definition: StreamDefinition,
  replicas: number,
): Partial<StreamConfig> & { readonly name: string } {
  return {
    name: definition.name,
    description: definition.description,
    subjects: [...definition.subjects],
    storage: definition.storage === "file" ? StorageType.File : StorageType.Memory,
    retention: definition.retention === "workqueue" ? RetentionPolicy.Workqueue : RetentionPolicy.Limits,
    discard: definition.discard === "old" ? DiscardPolicy.Old : DiscardPolicy.New,
    num_replicas: replicas,
    max_bytes: definition.maxBytes,
    max_msgs: definition.maxMessages ?? -1,
    max_msg_size: definition.maxMessageBytes ?? -1,
    max_msgs_per_subject: definition.isOnePerSubject ? 1 : -1,
    duplicate_window: DEDUPE_MS * NANOSECONDS,
    allow_msg_ttl: definition.allowsTtl,
    allow_direct: definition.allowsNearby,
  };
}

function consumerConfig(definition: ConsumerDefinition): Partial<ConsumerConfig> {
  const { name, filter, ackWaitMs, maxAckPending, maxWaiting, isRanked } = definition;
  return {
    durable_name: name,
    filter_subject: filter,
    ack_policy: AckPolicy.Explicit,
    ack_wait: ackWaitMs * NANOSECONDS,
    max_deliver: -1,
    max_ack_pending: maxAckPending,
    max_waiting: maxWaiting,
    ...(isRanked ? { priority_groups: [PRIORITY_GROUP], priority_policy: "prioritized", mem_storage: true } : {}),
  };
}
