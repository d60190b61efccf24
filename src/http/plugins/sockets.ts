/** WebSockets: upgrades that pass the hooks of every request, liveness, and sending that knows when a reader is slow. The only user of ws. */
import { ServerResponse, type IncomingMessage, type Server } from "node:http";
import type { Duplex } from "node:stream";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { WebSocket, WebSocketServer } from "ws";
import { LatentcastError } from "../../errors.ts";
import type { SocketFrame } from "../realtime/coding.ts";
import { wantsSocket } from "../upgrade.ts";

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
  readonly maxFrameBytes: number;
}

export function acceptSockets(app: FastifyInstance, { maxFrameBytes }: SocketOptions): Sockets {
  const heads = new WeakMap<IncomingMessage, Buffer>();
  const alive = new Set<LiveSocket>();
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
  app.server.on("upgrade", (request, socket, head) => {
    // Node has taken its own listener away.
    socket.on("error", () => socket.destroy());
    if (!wantsSocket(request)) return withoutUpgrade(app.server, request, socket, head);
    heads.set(request, head);
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    // A refusal ends the connection: after an upgrade nobody reads another request from it.
    response.once("finish", () => request.socket.destroySoon());
    response.assignSocket(request.socket);
    app.routing(request, response);
  });
  const timer = setInterval(() => {
    for (const socket of alive) socket.ping();
  }, PING_MS).unref();
  app.addHook("onClose", async () => clearInterval(timer));
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
      server.handleUpgrade(raw, raw.socket, head, (webSocket) => {
        const socket = new LiveSocket(webSocket);
        alive.add(socket);
        webSocket.once("close", () => alive.delete(socket));
        accepted(socket);
      });
    },
  };
}

/**
 * `Upgrade: h2c`, which Java's HttpClient sends with every first request, is ignored by Node as long as nobody listens for upgrades. So
 * the request is read again without that header, its body after it.
 */
function withoutUpgrade(server: Server, request: IncomingMessage, socket: Duplex, head: Buffer): void {
  const { method, url, httpVersion, rawHeaders } = request;
  const lines = rawHeaders.flatMap((name, index) => {
    const isName = index % 2 === 0;
    return isName && !/^(upgrade|http2-settings)$/i.test(name)
      ? [`${name}: ${withoutOption(name, rawHeaders[index + 1])}`]
      : [];
  });
  const start = `${method} ${url} HTTP/${httpVersion}\r\n${lines.join("\r\n")}\r\n\r\n`;
  socket.removeAllListeners("error");
  socket.unshift(Buffer.concat([Buffer.from(start, "latin1"), head]));
  server.emit("connection", socket);
}

/** Without the word that makes an upgrade of a request. */
function withoutOption(name: string, value = ""): string {
  if (name.toLowerCase() !== "connection") return value;
  const options = value.split(",").map((option) => option.trim());
  return options.filter((option) => !/^(upgrade|http2-settings)$/i.test(option)).join(", ");
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

  ping(): void {
    // Behind what a slow reader has not taken yet a ping would wait too; sending has a limit of its own.
    if (this.#socket.bufferedAmount > 0) return;
    if (!this.#hasAnswered) return this.#socket.terminate();
    this.#hasAnswered = false;
    this.#socket.ping();
  }
}
