/** WebSockets: handshakes, liveness, and sending that knows when a reader is slow. The only user of ws. */
import type { FastifyReply, FastifyRequest } from "fastify";
import { WebSocket, WebSocketServer } from "ws";
import { LatentcastError } from "../../errors.ts";
import type { UpgradeHeads } from "../plugins/upgrades.ts";
import type { SocketFrame } from "./coding.ts";

/** Proxies cut connections that are silent for 60 s, some after 30. A peer that has not answered by the next ping is gone. */
const PING_MS = 15_000;
/** A reader that has taken nothing for this long is a proxy that keeps the connection of a client that left. */
const STALL_MS = 120_000;
/** While more than this waits to be read, nothing more is read from the client. */
const MAX_UNREAD_BYTES = 256 * 2 ** 10;
/** How long the other side may take to read what is left and to answer a close frame. */
const CLOSE_PATIENCE_MS = 10_000;
const KEY = /^[+/\dA-Za-z]{22}==$/;

export interface SocketHandlers {
  message(frame: SocketFrame): void;
  /** Is answered, unless this closes the socket. */
  pinged(): void;
  closed(code: number): void;
}

/** One connection. */
export interface Socket {
  /** To be called once, at once. */
  listen(handlers: SocketHandlers): void;
  /** Resolves when the frame has left this process, or never will. */
  send(frame: SocketFrame): Promise<void>;
  close(code: number, reason: string, patienceMs?: number): void;
}

export interface Sockets {
  /** Makes a socket of a request whose route is for upgrades. Throws `bad_request` for one that is no handshake. */
  accept(request: FastifyRequest, reply: FastifyReply, accepted: (socket: Socket) => void): void;
}

/** `ws` answers a close frame without a code with one without a code; fal's client takes everything but 1000 for a failure. */
class PoliteWebSocket extends WebSocket {
  override close(code = 1_000, reason: string | Buffer = ""): void {
    super.close(code, reason);
  }
}

export interface SocketOptions {
  readonly heads: UpgradeHeads;
  readonly maxFrameBytes: number;
}

export function acceptSockets({ heads, maxFrameBytes }: SocketOptions): Sockets {
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: maxFrameBytes,
    // Images do not shrink, and each compressor holds memory.
    perMessageDeflate: false,
    // It would cut a connection at sixty pings in one chunk; whoever listens counts them, and closes it with a reason.
    autoPong: false,
    WebSocket: PoliteWebSocket,
  });
  return {
    accept: (request, reply, accepted) => {
      const { raw, headers } = request;
      const isHandshake = KEY.test(headers["sec-websocket-key"] ?? "") && headers["sec-websocket-version"] === "13";
      const head = heads.get(raw);
      if (head === undefined || !isHandshake)
        throw new LatentcastError("bad_request", {
          message: "The request is not a WebSocket handshake of version 13.",
        });
      reply.hijack();
      server.handleUpgrade(raw, raw.socket, head, (webSocket) => accepted(new LiveSocket(webSocket)));
    },
  };
}

class LiveSocket implements Socket {
  readonly #socket: WebSocket;
  #hasAnswered = true;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    // What went wrong is in the close code that follows.
    socket.on("error", () => undefined);
    socket.on("pong", () => {
      this.#hasAnswered = true;
    });
    const pings = setInterval(() => this.#ping(), PING_MS).unref();
    socket.once("close", () => clearInterval(pings));
  }

  listen(handlers: SocketHandlers): void {
    this.#socket.on("message", (data, isBinary) => {
      this.#hasAnswered = true;
      // Of the type's variants this is the one of `binaryType: "nodebuffer"`, the default.
      if (Buffer.isBuffer(data)) handlers.message({ data, isBinary });
    });
    this.#socket.on("ping", (data) => {
      handlers.pinged();
      this.#socket.pong(data, false, () => undefined);
    });
    this.#socket.once("close", (code) => handlers.closed(code));
  }

  send({ data, isBinary }: SocketFrame): Promise<void> {
    return new Promise((resolve) => {
      const stall = setTimeout(() => this.#socket.terminate(), STALL_MS).unref();
      this.#socket.send(data, { binary: isBinary }, () => {
        clearTimeout(stall);
        if (this.#socket.isPaused && this.#socket.bufferedAmount <= MAX_UNREAD_BYTES) this.#socket.resume();
        resolve();
      });
      if (this.#socket.bufferedAmount > MAX_UNREAD_BYTES) this.#socket.pause();
    });
  }

  close(code: number, reason: string, patienceMs = CLOSE_PATIENCE_MS): void {
    const patience = setTimeout(() => this.#socket.terminate(), patienceMs).unref();
    this.#socket.once("close", () => clearTimeout(patience));
    // The other side's close frame has to be read.
    this.#socket.resume();
    this.#socket.close(code, reason);
  }

  #ping(): void {
    // Behind what a slow reader has not taken yet a ping would wait too; sending has a limit of its own.
    if (this.#socket.bufferedAmount > 0) return;
    if (!this.#hasAnswered) return this.#socket.terminate();
    this.#hasAnswered = false;
    this.#socket.ping();
  }
}
