/**
 * Where everything of a fleet lives: streams, subjects and consumers, all below one prefix. Permissions are made of the same table, in
 * permissions.ts. docs/cluster.md explains each.
 */
import type { ConsumerName } from "./bus.ts";

/** Tickets of class `l` are taken when nothing waits in `n`. */
export type TicketClass = "n" | "l";
export const TICKET_CLASSES: readonly TicketClass[] = ["n", "l"];

/** What a process may do. `server` is gateway and node in one, `operator` makes the streams. */
export type Role = "gateway" | "node" | "server" | "operator";

/** Where the parts of files are. */
export interface PartSubjects {
  readonly stream: string;
  readonly every: string;
  /** The first part, written last; or all of the file. */
  head(key: string): string;
  /** The others, of one attempt to write it: those of attempts that lost the race are never read. */
  part(key: string, attempt: string, part: number): string;
  partsOf(key: string, attempt: string): string;
  everythingOf(key: string): string;
  keyIn(subject: string): string;
}

export interface StreamDefinition {
  readonly name: string;
  readonly subjects: readonly string[];
  readonly description: string;
  readonly storage: "file" | "memory";
  readonly retention: "limits" | "workqueue";
  /** What gives way when the stream is full: the oldest message, or the new one. */
  readonly discard: "old" | "new";
  readonly maxBytes: number;
  readonly maxMessages?: number;
  readonly maxMessageBytes?: number;
  /** Only the newest message under each subject is kept. */
  readonly isOnePerSubject: boolean;
  readonly allowsTtl: boolean;
  /** Any server may answer {@link Bus.getNearby}. */
  readonly allowsNearby: boolean;
}

export interface ConsumerDefinition extends ConsumerName {
  readonly filter: string;
  readonly ackWaitMs: number;
  readonly maxAckPending: number;
  readonly maxWaiting: number;
}

export interface LayoutOptions {
  /** Prefix of all names: `[a-z0-9_-]`, as names of pools. */
  readonly cluster?: string;
  readonly pools?: readonly string[];
  readonly stateBytes?: number;
  readonly filesBytes?: number;
  readonly inputBytes?: number;
  /** A webhook's delivery that is not settled by then is repeated by another gateway. */
  readonly hookAckWaitMs?: number;
  readonly ticketAckWaitMs?: number;
}

const GIB = 2 ** 30;
/** A stream without a limit can fill the disk; tickets are small. */
const MAX_TICKETS = 100_000;

export class Layout {
  readonly prefix: string;
  readonly streams: Readonly<Record<"state" | "tickets" | "files" | "inputs" | "hooks" | "secrets", string>>;
  readonly #options: LayoutOptions;

  constructor(options: LayoutOptions = {}) {
    const { cluster = "lc" } = options;
    this.prefix = cluster;
    this.#options = options;
    const stream = (name: string): string => `${cluster.toUpperCase()}_${name}`;
    this.streams = {
      state: stream("STATE"),
      tickets: stream("TICKETS"),
      files: stream("FILES"),
      inputs: stream("KEEP"),
      hooks: stream("HOOKS"),
      secrets: stream("SECRETS"),
    };
  }

  /** One record for each durable request. */
  state = (id: string): string => this.#subject("s", id);
  get everyState(): string {
    return `${this.prefix}.s.*`;
  }
  /** What a pool's nodes have in common. */
  pool = (pool: string): string => this.#subject("pool", pool);
  get everyPool(): string {
    return `${this.prefix}.pool.*`;
  }
  /** The name of the pool whose record is at this subject. */
  poolAt = (subject: string): string => decodeURIComponent(subject.split(".")[2] ?? "");
  /** The certificate of a death. */
  death = (node: string, incarnation: string | number): string => this.#subject("dead", node, String(incarnation));
  get everyDeath(): string {
    return `${this.prefix}.dead.*.*`;
  }
  secret = (name: string): string => this.#subject("secret", name);

  ticket = (pool: string, ticketClass: TicketClass, id: string): string => this.#subject("t", pool, ticketClass, id);
  hook = (id: string): string => this.#subject("h", id);

  /** Files that give way to newer ones. */
  get fileParts(): PartSubjects {
    return this.#parts(this.streams.files, "f");
  }
  /** Files that nothing gives way to: inputs of unfinished requests, results whose webhook is due. */
  get inputParts(): PartSubjects {
    return this.#parts(this.streams.inputs, "k");
  }

  /** Events of an interactive job, to the gateway whose client waits. */
  toGateway = (gateway: string, id: string): string => this.#subject("g", gateway, id);
  everythingTo = (gateway: string): string => `${this.prefix}.g.${token(gateway)}.>`;
  /** Events of a durable request, to whichever gateways listen. */
  events = (id: string): string => this.#subject("e", id);
  /** Nodes ask a gateway which of its jobs they need not go on with. */
  checks = (gateway: string): string => this.#subject("c", gateway);
  /** Questions to the node that runs a job: `feed`, `part`. */
  toNode = (node: string, what: string): string => this.#subject("n", node, what);
  everythingToNode = (node: string): string => `${this.prefix}.n.${token(node)}.>`;
  /** Questions to a gateway about the images that an interactive job starts from. */
  inputsOf = (gateway: string): string => this.#subject("i", gateway);
  /** Cancellations, to every node. */
  get cancel(): string {
    return `${this.prefix}.x`;
  }
  get heartbeat(): string {
    return `${this.prefix}.hb`;
  }

  /** Where answers to a role come in; nobody else may listen there. Those to the nodes of one pool are a part of those to all nodes. */
  inbox = (role: Role, pool?: string): string =>
    [`_INBOX_${this.prefix}_${role}`, ...(pool === undefined ? [] : [token(pool)])].join(".");

  tickets = (pool: string, ticketClass: TicketClass): ConsumerName => ({
    stream: this.streams.tickets,
    name: `${pool}-${ticketClass}`,
    isRanked: true,
  });
  get hooks(): ConsumerName {
    return { stream: this.streams.hooks, name: "hooks", isRanked: false };
  }

  get streamDefinitions(): readonly StreamDefinition[] {
    const { stateBytes = GIB, filesBytes = 10 * GIB, inputBytes = 2 * GIB } = this.#options;
    const { prefix, streams } = this;
    const limits = { storage: "file", retention: "limits", isOnePerSubject: true, allowsTtl: true } as const;
    return [
      {
        ...limits,
        name: streams.state,
        description: "requests, pools and certified deaths: the truth",
        subjects: [this.everyState, this.everyPool, this.everyDeath],
        discard: "new",
        maxBytes: stateBytes,
        maxMessageBytes: 256 * 1_024,
        // A server that is behind would show what is no longer so.
        allowsNearby: false,
      },
      {
        name: streams.tickets,
        description: "work for nodes; can be made again from the requests",
        subjects: [`${prefix}.t.*.*.*`],
        storage: "memory",
        retention: "workqueue",
        discard: "new",
        maxBytes: GIB / 4,
        maxMessages: MAX_TICKETS,
        isOnePerSubject: false,
        allowsTtl: false,
        allowsNearby: false,
      },
      {
        ...limits,
        name: streams.files,
        description: "images, uploads and large results; the oldest give way",
        subjects: [`${prefix}.f.>`],
        discard: "old",
        maxBytes: filesBytes,
        allowsNearby: true,
      },
      {
        ...limits,
        name: streams.inputs,
        description: "images that unfinished requests start from, results whose webhook is due; nothing gives way",
        subjects: [`${prefix}.k.>`],
        discard: "new",
        maxBytes: inputBytes,
        allowsNearby: true,
      },
      {
        name: streams.hooks,
        description: "webhooks that are due",
        subjects: [`${prefix}.h.*`],
        storage: "file",
        retention: "workqueue",
        discard: "new",
        maxBytes: GIB / 4,
        isOnePerSubject: false,
        allowsTtl: false,
        allowsNearby: false,
      },
      {
        ...limits,
        name: streams.secrets,
        description: "keys that gateways share",
        subjects: [`${prefix}.secret.*`],
        discard: "new",
        maxBytes: 2 ** 20,
        allowsTtl: false,
        allowsNearby: false,
      },
    ];
  }

  get consumerDefinitions(): readonly ConsumerDefinition[] {
    const { pools = ["default"], hookAckWaitMs = 30_000, ticketAckWaitMs = 30_000 } = this.#options;
    const tickets = pools.flatMap((pool) =>
      TICKET_CLASSES.map((ticketClass) => ({
        ...this.tickets(pool, ticketClass),
        filter: `${this.prefix}.t.${token(pool)}.${ticketClass}.*`,
        ackWaitMs: ticketAckWaitMs,
        // The default of 1000 would be a silent limit for the whole fleet.
        maxAckPending: MAX_TICKETS,
        maxWaiting: 4_096,
      })),
    );
    const hooks = {
      ...this.hooks,
      filter: `${this.prefix}.h.*`,
      ackWaitMs: hookAckWaitMs,
      maxAckPending: 64,
      maxWaiting: 512,
    };
    return [...tickets, hooks];
  }

  #parts(stream: string, kind: string): PartSubjects {
    const of = (key: string): string => `${this.prefix}.${kind}.${token(key)}`;
    return {
      stream,
      every: `${this.prefix}.${kind}.>`,
      head: (key) => `${of(key)}.0`,
      part: (key, attempt, part) => `${of(key)}.${attempt}.${part}`,
      partsOf: (key, attempt) => `${of(key)}.${attempt}.*`,
      everythingOf: (key) => `${of(key)}.>`,
      keyIn: (subject) => decodeURIComponent(subject.split(".")[2] ?? ""),
    };
  }

  #subject(...parts: readonly string[]): string {
    return [this.prefix, ...parts.map(token)].join(".");
  }
}

/** A name as one part of a subject: what has a meaning there is written as `%` and hexadecimal digits. */
export function token(name: string): string {
  return encodeURIComponent(name).replaceAll(".", "%2E").replaceAll("*", "%2A");
}
