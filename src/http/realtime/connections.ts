/** The realtime connections that are open: counted, limited per caller, drained. Loaded with the first of them. */
import type { FastifyReply, FastifyRequest } from "fastify";
import { UNAUTHORIZED } from "../../dialects/realtime/messages.ts";
import { LatentcastError } from "../../errors.ts";
import type { InputReader } from "../../images/source.ts";
import { CallerTurns } from "../../jobs/caller-turns.ts";
import type { Jobs } from "../../jobs/jobs.ts";
import type { Metrics } from "../../observability/metrics.ts";
import type { BeginImage } from "../plugins/limits.ts";
import type { UpgradeHeads } from "../plugins/upgrades.ts";
import { encodeControl } from "./coding.ts";
import { RealtimeSession } from "./session.ts";
import { acceptSockets, type Socket, type Sockets } from "./sockets.ts";

export interface ConnectionsOptions {
  readonly jobs: Jobs;
  readonly inputReader: InputReader;
  readonly upgrades: UpgradeHeads;
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

/** What a connection asked for in its address. */
export interface ConnectionAddress {
  /** For the log. */
  readonly path: string;
  /** How many inputs may wait, in order. */
  readonly places: number;
}

/** A socket that was only opened to be refused, so that its client gets the reason. */
const REFUSAL_PATIENCE_MS = 1_000;
const UNAUTHORIZED_CODE = 1_008;

export class RealtimeConnections {
  readonly #options: ConnectionsOptions;
  readonly #sockets: Sockets;
  readonly #turns: CallerTurns;
  readonly #sessions = new Set<RealtimeSession>();
  readonly #counts = new Map<string, number>();
  #isDraining = false;

  constructor(options: ConnectionsOptions) {
    const { jobs, upgrades: heads, limits } = options;
    this.#options = options;
    this.#sockets = acceptSockets({ heads, maxFrameBytes: limits.maxFrameBytes });
    this.#turns = new CallerTurns((pool) => jobs.imagesAtOnce(pool));
  }

  open(request: FastifyRequest, reply: FastifyReply, address: ConnectionAddress): void {
    const leave = this.#enter(request.caller);
    // Also after a refusal.
    reply.raw.once("close", leave);
    this.#sockets.accept(request, reply, (socket) => {
      if (request.hasBadToken) refuse(socket);
      else void this.#serve(socket, request, address);
    });
  }

  /** Sockets finish what runs, then close; new ones are closed at once. */
  drain(): void {
    this.#isDraining = true;
    for (const session of this.#sessions) session.drain();
  }

  /** Counts a connection of the caller until the function that is returned is called. */
  #enter(caller: string): () => void {
    const { metrics, limits } = this.#options;
    const count = this.#counts.get(caller) ?? 0;
    if (limits.connectionsPerCaller !== null && count >= limits.connectionsPerCaller)
      throw new LatentcastError("rate_limited", {
        message: `Only ${limits.connectionsPerCaller} realtime connections with this key.`,
      });
    this.#counts.set(caller, count + 1);
    metrics.realtimeClients.inc();
    return () => {
      metrics.realtimeClients.dec();
      const left = (this.#counts.get(caller) ?? 1) - 1;
      if (left === 0) this.#counts.delete(caller);
      else this.#counts.set(caller, left);
    };
  }

  async #serve(socket: Socket, { caller, log }: FastifyRequest, { path, places }: ConnectionAddress): Promise<void> {
    const { jobs, inputReader, begin, metrics, limits } = this.#options;
    const openedAtMs = performance.now();
    const session = new RealtimeSession(socket, {
      ...{ jobs, inputReader, turns: this.#turns, begin, caller, places },
      ...{ maxWaitingBytes: limits.maxFrameBytes, messagesPerSecond: limits.messagesPerSecond, idleMs: limits.idleMs },
      onSuperseded: () => metrics.realtimeSuperseded.inc(),
    });
    this.#sessions.add(session);
    if (this.#isDraining) session.drain();
    const code = await session.run();
    this.#sessions.delete(session);
    const durationMs = Math.round(performance.now() - openedAtMs);
    log.info({ path, caller, code, ...session.totals, durationMs }, "realtime connection");
  }
}

/** A status at the handshake would make fal's JavaScript client use the same token for ever. */
function refuse(socket: Socket): void {
  socket.listen({ message: () => undefined, pinged: () => undefined, closed: () => undefined });
  void socket.send(encodeControl(UNAUTHORIZED));
  socket.close(UNAUTHORIZED_CODE, "unauthorized", REFUSAL_PATIENCE_MS);
}
