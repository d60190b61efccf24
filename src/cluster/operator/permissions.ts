/**
 * What each user may do in NATS, made of the layout, as lines for a server's configuration. Gateways do not take tickets; nodes read neither
 * keys nor webhooks, and those that are of one pool take no tickets of others; streams are changed by operators only.
 */
import { TICKET_CLASSES, type Layout, type Role } from "../layout.ts";

/** Whoever logs in as it. */
export interface FleetUser {
  readonly role: Role;
  /** The only pool that a node may work for; any when absent. */
  readonly pool?: string;
}

export interface Permissions {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

/** @param pools Those whose nodes have users of their own; with none, one user is for the nodes of all pools. */
export function fleetUsers(pools: readonly string[] = []): FleetUser[] {
  const nodes = pools.length === 0 ? [{}] : pools.map((pool) => ({ pool }));
  return [
    { role: "gateway" },
    ...nodes.map((node) => ({ role: "node" as const, ...node })),
    { role: "server" },
    { role: "operator" },
  ];
}

/** As the servers' configuration calls it: `lc-gateway`, `lc-node-anime`. */
export function userName({ prefix }: Layout, { role, pool }: FleetUser): string {
  return [prefix, role, ...(pool === undefined ? [] : [pool])].join("-");
}

/** Of the variable that the servers' configuration has in place of the user's password. */
export function passwordVariable(layout: Layout, user: FleetUser): string {
  return `${userName(layout, user).toUpperCase().replaceAll("-", "_")}_PASSWORD`;
}

export function permissionsOf(layout: Layout, { role, pool }: FleetUser): Permissions {
  const inbox = `${layout.inbox(role, pool)}.>`;
  // Where the server's clock is read.
  const clock = "$SYS.REQ.USER.INFO";
  const unique = (subjects: readonly string[]): string[] =>
    [...new Set(subjects)].toSorted((a, b) => a.localeCompare(b));
  const of = ({ publish, subscribe }: Permissions): Permissions => ({
    publish: unique([clock, ...publish]),
    subscribe: unique([inbox, ...subscribe]),
  });
  const [gateway, node] = [gatewayOf(layout), nodeOf(layout, pool)];
  switch (role) {
    case "gateway":
      return of(gateway);
    case "node":
      return of(node);
    case "server":
      return of({
        publish: [...gateway.publish, ...node.publish],
        subscribe: [...gateway.subscribe, ...node.subscribe],
      });
    case "operator":
      return of({ publish: ["$JS.API.>", `${layout.prefix}.>`], subscribe: [`${layout.prefix}.>`] });
  }
}

/** An `authorization` block for nats-server, with a password of each user to be filled in. */
export function serverConfiguration(layout: Layout, everybody: readonly FleetUser[]): string {
  const list = (subjects: readonly string[]): string => subjects.map((subject) => `        "${subject}"`).join("\n");
  const users = everybody.map((user) => {
    const { publish, subscribe } = permissionsOf(layout, user);
    return [
      `    { user: "${userName(layout, user)}", password: $${passwordVariable(layout, user)}`,
      `      permissions: {`,
      `        allow_responses: { max: 1, expires: "1m" }`,
      `        publish: { allow: [\n${list(publish)}\n        ] }`,
      `        subscribe: { allow: [\n${list(subscribe)}\n        ] }`,
      `      } }`,
    ].join("\n");
  });
  return `authorization {\n  users: [\n${users.join("\n")}\n  ]\n}`;
}

function gatewayOf(layout: Layout): Permissions {
  const { prefix, streams } = layout;
  const all = Object.values(streams);
  return {
    publish: [
      ...[layout.cancel, layout.heartbeat, `${prefix}.n.*.*`],
      ...[`${prefix}.t.*.*.*`, `${prefix}.h.*`, `${prefix}.secret.*`, layout.everyDeath, ...stores(layout)],
      ...all.map((stream) => `$JS.API.STREAM.INFO.${stream}`),
      ...all.map((stream) => `$JS.API.STREAM.MSG.GET.${stream}`),
      ...[`$JS.API.CONSUMER.INFO.${streams.tickets}.*`, `$JS.ACK.${streams.tickets}.>`],
      ...taking(streams.hooks),
    ],
    subscribe: [...[layout.heartbeat, `${prefix}.g.*.>`, `${prefix}.e.*`, `${prefix}.i.*`, `${prefix}.c.*`]],
  };
}

function nodeOf(layout: Layout, pool: string | undefined): Permissions {
  const { prefix, streams } = layout;
  // Tickets come to it, it does not read them: those of others have prompts.
  const read = [streams.state, streams.files, streams.inputs];
  const consumers = pool === undefined ? undefined : TICKET_CLASSES.map((each) => layout.tickets(pool, each).name);
  return {
    publish: [
      ...[layout.heartbeat, `${prefix}.g.*.*`, `${prefix}.e.*`, `${prefix}.i.*`, `${prefix}.c.*`],
      ...[`${prefix}.h.*`, pool === undefined ? layout.everyPool : layout.pool(pool), ...stores(layout)],
      ...read.map((stream) => `$JS.API.STREAM.INFO.${stream}`),
      ...read.map((stream) => `$JS.API.STREAM.MSG.GET.${stream}`),
      ...taking(streams.tickets, consumers),
    ],
    subscribe: [layout.heartbeat, layout.cancel, `${prefix}.n.*.>`],
  };
}

/** Requests and files: whoever runs a request reads, writes and ends it, and makes room for its end. */
function stores({ prefix, streams, everyState }: Layout): string[] {
  const { state, files, inputs } = streams;
  return [
    ...[everyState, `${prefix}.f.>`, `${prefix}.k.>`],
    ...[files, inputs].map((stream) => `$JS.API.DIRECT.GET.${stream}.>`),
    ...[state, files, inputs].map((stream) => `$JS.API.STREAM.PURGE.${stream}`),
    ...[state, inputs].flatMap((stream) => watching(stream)),
  ];
}

/** A watch is a consumer of its own, which ends with it. */
function watching(stream: string): string[] {
  return ["CREATE", "DELETE", "INFO", "MSG.NEXT"].map((call) => `$JS.API.CONSUMER.${call}.${stream}.>`);
}

/** @param consumers Of the stream; every one when absent. */
function taking(stream: string, consumers: readonly string[] = ["*"]): string[] {
  return consumers.flatMap((name) => [
    `$JS.API.CONSUMER.MSG.NEXT.${stream}.${name}`,
    `$JS.API.CONSUMER.INFO.${stream}.${name}`,
    `$JS.ACK.${stream}.${name}.>`,
  ]);
}
