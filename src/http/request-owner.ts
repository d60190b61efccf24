/** Whom a request belongs to. */
import { createHmac } from "node:crypto";
import type { FastifyRequest } from "fastify";
import type { RequestRef } from "../requests/submission.ts";

/** The same for every request of an API key; of an address, where no key is asked for. Never leaves this process. */
export function callerOf({ keyDigest, ip }: Pick<FastifyRequest, "keyDigest" | "ip">): string {
  return keyDigest === null ? ip : keyDigest.toString("hex");
}

/**
 * What names the caller's API key in the record of one request: the same key gives something else for another id, so records show
 * neither the key nor which of them share one. Null where no key is asked for.
 */
export function refOf(request: FastifyRequest, id: string): RequestRef {
  const { keyDigest } = request;
  const owner = keyDigest === null ? null : createHmac("sha256", keyDigest).update(id).digest("base64url");
  return { id, owner };
}
