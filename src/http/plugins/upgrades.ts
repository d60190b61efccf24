/** Requests that ask for a WebSocket pass the hooks and routes of every request; the routes make sockets of them. */
import { ServerResponse, type IncomingMessage, type Server } from "node:http";
import type { Duplex } from "node:stream";
import type { FastifyInstance } from "fastify";
import { wantsSocket } from "../upgrade.ts";

/** By request: what came behind its headers. */
export type UpgradeHeads = WeakMap<IncomingMessage, Buffer>;

export function routeUpgrades(app: FastifyInstance): UpgradeHeads {
  const heads: UpgradeHeads = new WeakMap();
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
  return heads;
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
