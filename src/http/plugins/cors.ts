/** Which pages of other origins may call this server, and what of an answer they may read. */
import cors from "@fastify/cors";
import type { FastifyInstance } from "fastify";

/** Browsers hide every other header from a page of another origin, `Retry-After` too. */
const EXPOSED_HEADERS = [
  "x-fal-request-id",
  "x-fal-request-timeout-type",
  "x-fal-error-type",
  "x-request-id",
  "x-should-retry",
  "retry-after",
  "allow",
  "content-disposition",
  "x-ratelimit-limit",
  "x-ratelimit-remaining",
  "x-ratelimit-reset",
];

export async function allowOrigins(app: FastifyInstance, origins: readonly string[]): Promise<void> {
  if (origins.length === 0) return;
  await app.register(cors, {
    origin: origins.includes("*") ? true : [...origins],
    methods: ["GET", "POST", "PUT"],
    exposedHeaders: EXPOSED_HEADERS,
    // A preflight that is incomplete would be answered in plain text by the plugin itself.
    strictPreflight: false,
  });
}

/** For answers that are written before the plugin has seen the request. */
export function corsHeaders(origin: string | undefined, origins: readonly string[]): Record<string, string> {
  if (origin === undefined || !(origins.includes("*") || origins.includes(origin))) return {};
  return {
    "access-control-allow-origin": origin,
    "access-control-expose-headers": EXPOSED_HEADERS.join(", "),
    vary: "Origin",
  };
}
