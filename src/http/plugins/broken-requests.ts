/** Requests that are no HTTP, never complete, or want a tunnel: Node hands over the bare socket, and the answer is written by hand in the usual shape. */
import { randomUUID } from "node:crypto";
import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { FastifyInstance, FastifyServerOptions } from "fastify";
import { errorResponse } from "../../dialects/fal-error.ts";
import { LatentcastError, type ErrorCode } from "../../errors.ts";
import { toAsciiJson } from "../../schema/ascii-json.ts";
import { corsHeaders } from "./cors.ts";

const CODES: Readonly<Record<string, ErrorCode>> = {
  ERR_HTTP_REQUEST_TIMEOUT: "receive_timeout",
  HPE_HEADER_OVERFLOW: "headers_too_large",
};

/** @param origins The pages that may read the answer. */
export function answerBrokenRequests(
  origins: readonly string[],
): NonNullable<FastifyServerOptions["clientErrorHandler"]> {
  return (error, socket) => {
    if (error.code === "ECONNRESET" || socket.destroyed) return;
    if (socket.writable && !isAnswering(socket)) {
      const failure = new LatentcastError(CODES[error.code] ?? "bad_request");
      socket.write(response(failure, corsHeaders(originIn(error), origins)));
    }
    socket.destroy(error);
  };
}

/** To be a tunnel is asked of the server before there is a request; without a listener Node closes the connection. */
export function answerConnect(app: FastifyInstance, origins: readonly string[]): void {
  app.server.on("connect", ({ headers }, socket) => {
    socket.on("error", () => undefined);
    socket.end(response(new LatentcastError("method_not_allowed"), corsHeaders(headers.origin, origins)));
  });
}

/** An answer that has begun must not be mixed with another. */
function isAnswering(socket: Socket & { _httpMessage?: { headersSent?: boolean } | null }): boolean {
  return socket._httpMessage?.headersSent === true;
}

function response(error: LatentcastError, cors: Readonly<Record<string, string>>): string {
  const answer = errorResponse(error);
  const body = toAsciiJson(answer.body);
  const headers = {
    ...answer.headers,
    ...cors,
    "x-fal-request-id": randomUUID(),
    "cache-control": "no-store",
    "content-type": "application/json; charset=utf-8",
    "content-length": String(body.length),
    connection: "close",
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status]}\r\n${lines.join("")}\r\n${body}`;
}

/** What was read before it went wrong. The value is only ever compared with the listed origins. */
function originIn({ rawPacket }: Error & { rawPacket?: unknown }): string | undefined {
  return Buffer.isBuffer(rawPacket) ? /^origin:[ \t]*(\S+)/im.exec(rawPacket.toString("latin1"))?.[1] : undefined;
}
