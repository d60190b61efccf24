/**
 * What each role may do in NATS, made of the layout, as lines for a server's configuration. Gateways do not take tickets; nodes read neither
 * keys nor webhooks; streams are changed by operators only.
 */
import type { Layout, Role } from "../layout.ts";

export interface Permissions {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

export const ROLES: readonly Role[] = ["gateway", "node", "server", "operator"];

export function permissionsOf(layout: Layout, role: Role): Permissions {
  const inbox = `${layout.inbox(role)}.>`;
  // Where the server's clock is read.
  const clock = "$SYS.REQ.USER.INFO";
  const unique = (subjects: readonly string[]): string[] =>
    [...new Set(subjects)].toSorted((a, b) => a.localeCompare(b));
  const of = ({ publish, subscribe }: Permissions): Permissions => ({
    publish: unique([clock, ...publish]),
    subscribe: unique([inbox, ...subscribe]),
  });
  const [gateway, node] = [gatewayOf(layout), nodeOf(layout)];
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

/** An `authorization` block for nats-server, with a password of each role to be filled in. */
export function serverConfiguration(layout: Layout): string {
  const list = (subjects: readonly string[]): string => subjects.map((subject) => `        "${subject}"`).join("\n");
  const users = ROLES.map((role) => {
    const { publish, subscribe } = permissionsOf(layout, role);
    return [
      `    { user: "${layout.prefix}-${role}", password: $${layout.prefix.toUpperCase()}_${role.toUpperCase()}_PASSWORD`,
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

function nodeOf(layout: Layout): Permissions {
  const { prefix, streams } = layout;
  const read = [streams.state, streams.tickets, streams.files, streams.inputs];
  return {
    publish: [
      ...[layout.heartbeat, `${prefix}.g.*.*`, `${prefix}.e.*`, `${prefix}.i.*`, `${prefix}.c.*`],
      ...[`${prefix}.h.*`, layout.everyPool, ...stores(layout)],
      ...read.map((stream) => `$JS.API.STREAM.INFO.${stream}`),
      ...read.map((stream) => `$JS.API.STREAM.MSG.GET.${stream}`),
      ...taking(streams.tickets),
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

function taking(stream: string): string[] {
  return [`$JS.API.CONSUMER.MSG.NEXT.${stream}.*`, `$JS.API.CONSUMER.INFO.${stream}.*`, `$JS.ACK.${stream}.>`];
}
