/** Realtime: a socket for one input after the other, of which the latest is drawn. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { modelName } from "../../dialects/model-name.ts";
import { LatentcastError } from "../../errors.ts";
import { invalidRequest } from "../../jobs/request.ts";
import type { RealtimeConnections, ConnectionsOptions } from "../realtime/connections.ts";
import { FOR_SOCKETS } from "../upgrade.ts";

export interface RealtimeDoor {
  /** Sockets finish what runs, then close; new ones are closed at once. */
  drain(): void;
}

/** As fal's clients have it. */
const MAX_BUFFERING = 60;

/** `realtime` at the end is what fal's clients add; they may also be given another path, or none. */
const PATHS = ["/realtime", "/:owner/:alias", "/:owner/:alias/*"];

export function realtimeRoutes(app: FastifyInstance, options: ConnectionsOptions): RealtimeDoor {
  let isDraining = false;
  let loading: Promise<RealtimeConnections> | undefined;
  let connections: RealtimeConnections | undefined;

  /** ws and msgpack are 55 modules; most servers start without needing them. */
  async function load(): Promise<RealtimeConnections> {
    const loaded = await import("../realtime/connections.ts");
    connections = new loaded.RealtimeConnections(options);
    if (isDraining) connections.drain();
    return connections;
  }

  async function open(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const path = pathOf(request);
    if (path !== PATHS[0] && modelName(path) === undefined)
      throw new LatentcastError("not_found", { message: `Path ${path} not found` });
    const address = { path, places: placesOf(request) };
    const opened = await (loading ??= load());
    // A shutdown may have cut it in the meantime: nobody is left to be answered, or to be counted.
    if (request.raw.socket.destroyed) reply.hijack();
    else opened.open(request, reply, address);
  }

  for (const url of PATHS) {
    app.route({ method: "GET", url, constraints: FOR_SOCKETS, config: { takesToken: true }, handler: open });
  }
  return {
    drain: () => {
      isDraining = true;
      connections?.drain();
    },
  };
}

/** How many inputs may wait, in order; one unless the client asks for more. */
function placesOf({ query }: FastifyRequest): number {
  const given = (query as Readonly<Record<string, unknown>>)["max_buffering"];
  if (given === undefined) return 1;
  const places = typeof given === "string" && /^\d{1,2}$/.test(given) ? Number(given) : 0;
  if (places >= 1 && places <= MAX_BUFFERING) return places;
  const msg = `must be a number from 1 to ${MAX_BUFFERING}`;
  throw invalidRequest([{ loc: ["query", "max_buffering"], msg, type: "out_of_range" }]);
}

function pathOf({ url }: FastifyRequest): string {
  return (url.split("?", 1)[0] ?? "").replaceAll(/\/{2,}/g, "/").replace(/\/$/, "");
}
