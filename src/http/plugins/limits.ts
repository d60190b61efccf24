/** How much one caller may ask for: requests a minute, and images waited for at once. Both are off until they are set. */
import rateLimit from "@fastify/rate-limit";
import type { FastifyInstance } from "fastify";
import { LatentcastError } from "../../errors.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** The request lasts as long as its image takes, and counts against the caller's limit meanwhile. */
    waitsForImage?: boolean;
  }
}

export interface CallerLimits {
  /** Null is no limit. */
  readonly ratePerMinute: number | null;
  readonly concurrent: number | null;
}

/** How long an image takes is not known here; a second is what a client should wait at least. */
const CONCURRENCY_RETRY_SECONDS = 1;
/** Callers whose counters are kept: more addresses than this within a minute push the oldest out. */
const KEPT_CALLERS = 10_000;

/** To be called after the hook that names the caller, and before the routes. */
export async function limitCallers(app: FastifyInstance, { ratePerMinute, concurrent }: CallerLimits): Promise<void> {
  if (ratePerMinute !== null) {
    await app.register(rateLimit, {
      max: ratePerMinute,
      timeWindow: "1 minute",
      cache: KEPT_CALLERS,
      keyGenerator: ({ caller }) => caller,
      // Work comes by POST only. Probes, polls for a queued request's state and cancellations must always get through.
      allowList: ({ method }) => method !== "POST",
      errorResponseBuilder: (_request, { ttl }) =>
        new LatentcastError("rate_limited", { retryAfterSeconds: Math.max(1, Math.ceil(ttl / 1_000)) }),
    });
  }
  if (concurrent !== null) limitConcurrency(app, concurrent);
}

function limitConcurrency(app: FastifyInstance, limit: number): void {
  const underWay = new Map<string, number>();
  app.addHook("onRequest", async ({ caller, routeOptions }, reply) => {
    if (routeOptions.config.waitsForImage !== true) return;
    const count = underWay.get(caller) ?? 0;
    if (count >= limit) {
      throw new LatentcastError("rate_limited", {
        message: `Only ${limit} images at once with this key; wait for one to finish.`,
        retryAfterSeconds: CONCURRENCY_RETRY_SECONDS,
      });
    }
    underWay.set(caller, count + 1);
    reply.raw.once("close", () => {
      const left = (underWay.get(caller) ?? 1) - 1;
      if (left === 0) underWay.delete(caller);
      else underWay.set(caller, left);
    });
  });
}
