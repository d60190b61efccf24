/** Realtime: a socket for one input after the other, of which the latest is drawn. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { modelName } from "../../dialects/model-name.ts";
import { UNAUTHORIZED } from "../../dialects/realtime/messages.ts";
import { LatentcastError } from "../../errors.ts";
import type { InputReader } from "../../images/source.ts";
import { CallerTurns } from "../../jobs/caller-turns.ts";
import { invalidRequest } from "../../jobs/request.ts";
import type { Jobs } from "../../jobs/jobs.ts";
import type { Metrics } from "../../observability/metrics.ts";
import type { BeginImage } from "../plugins/limits.ts";
import type { Socket, Sockets } from "../plugins/sockets.ts";
import { encodeControl } from "../realtime/coding.ts";
import { RealtimeSession } from "../realtime/session.ts";
import { FOR_SOCKETS } from "../upgrade.ts";

export interface RealtimeRoutesOptions {
  readonly jobs: Jobs;
  readonly inputReader: InputReader;
  readonly sockets: Sockets;
  /** Counts a job against the caller's limit of images at once. */
  readonly begin: BeginImage;
  readonly metrics: Metrics;
  readonly limits: RealtimeLimits;
}

export interface RealtimeLimits {
  readonly maxFrameBytes: number;
  /** Null is no limit. */
  readonly messagesPerSecond: number | null;
  readonly connectionsPerCaller: number | null;
  readonly idleMs: number;
}

export interface RealtimeDoor {
  /** Sockets finish what runs, then close; new ones are closed at once. */
  drain(): void;
}

/** As fal's clients have it. */
const MAX_BUFFERING = 60;
/** A socket that was only opened to be refused, so that its client gets the reason. */
const REFUSAL_PATIENCE_MS = 1_000;
const UNAUTHORIZED_CODE = 1_008;

/** `realtime` at the end is what fal's clients add; they may also be given another path, or none. */
const PATHS = ["/realtime", "/:owner/:alias", "/:owner/:alias/*"];

export function realtimeRoutes(app: FastifyInstance, options: RealtimeRoutesOptions): RealtimeDoor {
  const { jobs, inputReader, sockets, begin, metrics, limits } = options;
  const sessions = new Set<RealtimeSession>();
  const connections = new Map<string, number>();
  const turns = new CallerTurns(() => jobs.imagesAtOnce);
  let isDraining = false;

  /** Counts a connection of the caller until it closes. */
  function enter(caller: string): () => void {
    const count = connections.get(caller) ?? 0;
    if (limits.connectionsPerCaller !== null && count >= limits.connectionsPerCaller)
      throw new LatentcastError("rate_limited", {
        message: `Only ${limits.connectionsPerCaller} realtime connections with this key.`,
      });
    connections.set(caller, count + 1);
    metrics.realtimeClients.inc();
    return () => {
      metrics.realtimeClients.dec();
      const left = (connections.get(caller) ?? 1) - 1;
      if (left === 0) connections.delete(caller);
      else connections.set(caller, left);
    };
  }

  async function serve(socket: Socket, request: FastifyRequest, places: number): Promise<void> {
    const { caller, log } = request;
    const openedAtMs = performance.now();
    const session = new RealtimeSession(socket, {
      ...{ jobs, inputReader, turns, begin, caller, places },
      ...{ maxWaitingBytes: limits.maxFrameBytes, messagesPerSecond: limits.messagesPerSecond, idleMs: limits.idleMs },
      onSuperseded: () => metrics.realtimeSuperseded.inc(),
    });
    sessions.add(session);
    if (isDraining) session.drain();
    const code = await session.run();
    sessions.delete(session);
    const durationMs = Math.round(performance.now() - openedAtMs);
    log.info({ path: pathOf(request), caller, code, ...session.totals, durationMs }, "realtime connection");
  }

  async function open(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const path = pathOf(request);
    if (path !== PATHS[0] && modelName(path) === undefined)
      throw new LatentcastError("not_found", { message: `Path ${path} not found` });
    const places = placesOf(request);
    const leave = enter(request.caller);
    try {
      sockets.accept(request, reply, (socket) => {
        reply.raw.once("close", leave);
        if (request.hasBadToken) refuse(socket);
        else void serve(socket, request, places);
      });
    } catch (error) {
      leave();
      throw error;
    }
  }

  for (const url of PATHS) {
    app.route({ method: "GET", url, constraints: FOR_SOCKETS, config: { takesToken: true }, handler: open });
  }
  return {
    drain: () => {
      isDraining = true;
      for (const session of sessions) session.drain();
    },
  };
}

/** A status at the handshake would make fal's JavaScript client use the same token for ever. */
function refuse(socket: Socket): void {
  socket.listen({ message: () => undefined, pinged: () => undefined, closed: () => undefined });
  void socket.send(encodeControl(UNAUTHORIZED));
  socket.close(UNAUTHORIZED_CODE, "unauthorized", REFUSAL_PATIENCE_MS);
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
