/** API keys. Kept as digests, compared in constant time; accepted as `Key …` and `Bearer …`. */
import { createHash, timingSafeEqual } from "node:crypto";
import type { FastifyInstance } from "fastify";
import { LatentcastError } from "../../errors.ts";

/** What anybody may ask: probes and pages carry no keys, and a browser asks for permission before it sends one. */
const OPEN_PATHS = new Set(["/health", "/ready", "/openapi.json", "/docs"]);
const OPEN_FOLDERS = ["/docs/"];

/** With no keys everybody is let in; the settings have then made sure that only this machine can connect. */
export function requireKeys(app: FastifyInstance, keys: readonly string[]): void {
  if (keys.length === 0) return;
  const digests = keys.map(digest);
  app.addHook("onRequest", async (request) => {
    if (request.method === "OPTIONS" || isOpen(request.routeOptions.url ?? "")) return;
    const given = /^(?:Key|Bearer)\s+(.+)$/i.exec(request.headers.authorization ?? "")?.[1];
    if (given === undefined || !isKnown(digests, digest(given))) throw new LatentcastError("unauthorized");
  });
}

function isOpen(route: string): boolean {
  return OPEN_PATHS.has(route) || OPEN_FOLDERS.some((folder) => route.startsWith(folder));
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
