/** Failures as HTTP, in the shape of the dialect that was asked, and with no text of ours that could carry a path or a prompt. */
import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";
import { dialectAt } from "../dialects/registry.ts";
import { LatentcastError, type ErrorCode } from "../errors.ts";
import { discardBody } from "./plugins/bodies.ts";

export function sendError(reply: FastifyReply, error: LatentcastError): FastifyReply {
  const { status, headers, body } = dialectAt(reply.request.url).error(error);
  return reply.code(status).headers(headers).send(body);
}

/** Fastify's error handler. */
export function handleError(
  thrown: FastifyError | LatentcastError,
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  const error = fromFastify(thrown);
  if (error.blame === "server") request.log.error({ err: error, cause: error.cause }, "request failed");
  else request.log.debug({ err: error }, "request refused");
  if (error.code === "payload_too_large") {
    // Fastify would close the connection, which resets it under a client that is still sending.
    reply.removeHeader("connection");
    discardBody(request);
  }
  void sendError(reply, error);
}

const BY_STATUS: Readonly<Record<number, ErrorCode>> = {
  400: "bad_request",
  401: "unauthorized",
  404: "not_found",
  405: "method_not_allowed",
  408: "receive_timeout",
  413: "payload_too_large",
  415: "unsupported_media_type",
  429: "rate_limited",
  431: "headers_too_large",
  503: "overloaded",
};

function fromFastify(thrown: FastifyError | LatentcastError): LatentcastError {
  if (thrown instanceof LatentcastError) return thrown;
  const code =
    BY_STATUS[thrown.statusCode ?? 500] ?? (isClientStatus(thrown.statusCode) ? "bad_request" : "internal_error");
  return new LatentcastError(code, { cause: thrown });
}

function isClientStatus(status: number | undefined): boolean {
  return status !== undefined && status >= 400 && status < 500;
}
