/** Requests that are no HTTP, never complete, or want a tunnel: Node hands over the bare socket, and the answer is written by hand in the shape of its path. */
import { randomUUID } from "node:crypto";
import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { FastifyInstance, FastifyServerOptions } from "fastify";
import { dialectAt } from "../../dialects/registry.ts";
import type { ErrorResponse } from "../../dialects/dialect.ts";
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
      const answer = dialectAt(pathIn(error)).error(failure);
      socket.write(written(answer, corsHeaders(originIn(error), origins)));
    }
    socket.destroy(error);
  };
}

/** To be a tunnel is asked of the server before there is a request; without a listener Node closes the connection. */
export function answerConnect(app: FastifyInstance, origins: readonly string[]): void {
  app.server.on("connect", ({ headers }, socket) => {
    socket.on("error", () => undefined);
    const answer = dialectAt("/").error(new LatentcastError("method_not_allowed"));
    socket.end(written(answer, corsHeaders(headers.origin, origins)));
  });
}

/** An answer that has begun must not be mixed with another. */
function isAnswering(socket: Socket & { _httpMessage?: { headersSent?: boolean } | null }): boolean {
  return socket._httpMessage?.headersSent === true;
}

function written(answer: ErrorResponse, cors: Readonly<Record<string, string>>): string {
  const id = randomUUID();
  const body = toAsciiJson(answer.body);
  const headers = {
    ...answer.headers,
    ...cors,
    "x-fal-request-id": id,
    "x-request-id": id,
    "cache-control": "no-store",
    "content-type": "application/json; charset=utf-8",
    "content-length": String(body.length),
    connection: "close",
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status]}\r\n${lines.join("")}\r\n${body}`;
}

function pathIn(error: Error): string {
  return /^[A-Z]+ (\/\S*)/.exec(readBefore(error))?.[1] ?? "/";
}

/** The value is only ever compared with the listed origins. */
function originIn(error: Error): string | undefined {
  return /^origin:[ \t]*(\S+)/im.exec(readBefore(error))?.[1];
}

/** What was read before it went wrong. */
function readBefore({ rawPacket }: Error & { rawPacket?: unknown }): string {
  return Buffer.isBuffer(rawPacket) ? rawPacket.toString("latin1") : "";
}
