/**
 * API keys. Kept as digests, compared in constant time; accepted as `Key …`, `Bearer …`, the password of `Basic …`, and in `api-key`. Also
 * says who is calling. Routes that pages open without a key take a token in the address instead.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { LatentcastError } from "../../errors.ts";
import type { AccessTokens } from "../access-tokens.ts";
import { wantsSocket } from "../upgrade.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** Whose limits this request counts against: a name made from the API key, or the address where none is needed. Safe to log. */
    caller: string;
    /** Of the API key it came with; null where none is asked for. */
    keyDigest: Buffer | null;
    /** Of a socket: it came with a token that is not good, and must be told so after the handshake. */
    hasBadToken: boolean;
  }
  interface FastifyContextConfig {
    /** Answered without a key. */
    isOpen?: boolean;
    /** Answered with an {@link AccessTokens token} too. */
    takesToken?: boolean;
  }
}

/** Enough of a digest to tell keys apart, too little to find one by. */
const NAME_DIGITS = 8;

/** Without keys no request is refused: then the settings allow loopback only, or LATENTCAST_ALLOW_ANONYMOUS is set. */
export function requireKeys(app: FastifyInstance, keys: readonly string[], tokens: AccessTokens): void {
  const digests = keys.map(digest);
  app.decorateRequest("caller", "");
  app.decorateRequest("keyDigest", null);
  app.decorateRequest("hasBadToken", false);
  app.addHook("onRequest", async (request) => {
    request.caller = request.ip;
    if (keys.length === 0) return;
    // A browser asks for permission before it sends a key.
    if (request.method === "OPTIONS" || request.routeOptions.config.isOpen === true) return;
    const token = request.routeOptions.config.takesToken === true ? tokenOf(request) : undefined;
    if (token !== undefined) {
      const holder = tokens.holder(token, request.url.split("?", 1)[0] ?? "/", Date.now());
      request.caller = holder ?? request.caller;
      request.hasBadToken = holder === undefined && wantsSocket(request.raw);
      if (holder === undefined && !request.hasBadToken) throw new LatentcastError("unauthorized");
      return;
    }
    const given = keyOf(request.headers);
    if (given === undefined) throw new LatentcastError("unauthorized");
    const candidate = digest(given);
    if (!isKnown(digests, candidate)) throw new LatentcastError("unauthorized");
    request.keyDigest = candidate;
    request.caller = `key-${candidate.toString("hex").slice(0, NAME_DIGITS)}`;
  });
}

/** As fal's clients name it. */
function tokenOf({ query }: FastifyRequest): string | undefined {
  const token = (query as Readonly<Record<string, unknown>>)["fal_jwt_token"];
  return typeof token === "string" ? token : undefined;
}

/** Whether it is one of `keys`; with none, everything is. */
export function isKey(keys: readonly string[], given: string): boolean {
  return keys.length === 0 || isKnown(keys.map(digest), digest(given));
}

/** What programs for OpenAI's and Azure's API send besides fal's `Key`. */
function keyOf({ authorization = "", "api-key": azureKey }: IncomingHttpHeaders): string | undefined {
  const [, scheme = "", value = ""] = /^(Key|Bearer|Basic)\s+(.+)$/i.exec(authorization) ?? [];
  if (scheme.toLowerCase() === "basic") return /:(.+)$/s.exec(Buffer.from(value, "base64").toString())?.[1];
  return value === "" ? azureKey?.toString() : value;
}

function digest(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}

/** Looks at every key whatever it finds, so that the time taken says nothing about which one was close. */
function isKnown(digests: readonly Buffer[], given: Buffer): boolean {
  let known = false;
  for (const candidate of digests) known = timingSafeEqual(candidate, given) || known;
  return known;
}
