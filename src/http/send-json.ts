/** Answers whose images still are bytes. */
import type { FastifyReply } from "fastify";
import { toJsonBytes } from "../schema/json.ts";

export function sendJson(reply: FastifyReply, body: object): FastifyReply {
  return reply.header("content-type", "application/json; charset=utf-8").send(toJsonBytes(body));
}
