/**
 * How much one caller may ask for: requests a minute, and images waited for at once. Both are off until they are set. Of several gateways
 * each allows its share, so what a caller gets in all is near the limit where its requests are spread evenly.
 */
import type { FastifyInstance } from "fastify";
import { LatentcastError } from "../../errors.ts";
import { wantsSocket } from "../upgrade.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** The request lasts as long as its image takes, and counts against the caller's limit meanwhile. */
    waitsForImage?: boolean;
    /** A poll or a cancellation, though it comes as a `POST`: it passes however often it is sent. */
    isUncounted?: boolean;
  }
}

export interface CallerLimits {
  /** Null is no limit. */
  readonly ratePerMinute: number | null;
  readonly concurrent: number | null;
  /** How many servers share the limits now, this one included. */
  readonly sharers: () => number;
}

/** How long an image takes is not known here; a second is what a client should wait at least. */
const CONCURRENCY_RETRY_SECONDS = 1;
/** Callers whose counters are kept: more addresses than this within a minute push the oldest out. */
const KEPT_CALLERS = 10_000;

/** Counts an image that a caller waits for until the function it returns is called. Throws `rate_limited` for one too many. */
export type BeginImage = (caller: string) => () => void;

/**
 * To be called after the hook that names the caller, and before the routes.
 * @returns How images are counted that are not asked for by a request of their own.
 */
export async function limitCallers(
  app: FastifyInstance,
  { ratePerMinute, concurrent, sharers }: CallerLimits,
): Promise<BeginImage> {
  if (ratePerMinute !== null) {
    const { default: rateLimit } = await import("@fastify/rate-limit");
    await app.register(rateLimit, {
      max: () => shareOf(ratePerMinute, sharers()),
      timeWindow: "1 minute",
      cache: KEPT_CALLERS,
      keyGenerator: ({ caller }) => caller,
      // Work comes by POST and over sockets. Probes, polls for a queued request's state and cancellations must always get through.
      allowList: ({ method, raw, routeOptions }) =>
        (method !== "POST" && !wantsSocket(raw)) || routeOptions.config.isUncounted === true,
      errorResponseBuilder: (_request, { ttl }) =>
        new LatentcastError("rate_limited", { retryAfterSeconds: Math.max(1, Math.ceil(ttl / 1_000)) }),
    });
  }
  const begin = countImages(() => shareOf(concurrent ?? Number.POSITIVE_INFINITY, sharers()));
  app.addHook("onRequest", async ({ caller, routeOptions }, reply) => {
    if (routeOptions.config.waitsForImage === true) reply.raw.once("close", begin(caller));
  });
  return begin;
}

/** Rounded up: nobody is refused everything. */
function shareOf(limit: number, sharers: number): number {
  return Math.max(1, Math.ceil(limit / Math.max(1, sharers)));
}

function countImages(limitNow: () => number): BeginImage {
  const underWay = new Map<string, number>();
  return (caller) => {
    const count = underWay.get(caller) ?? 0;
    const limit = limitNow();
    if (count >= limit) {
      throw new LatentcastError("rate_limited", {
        message: `Only ${limit} images at once with this key; wait for one to finish.`,
        retryAfterSeconds: CONCURRENCY_RETRY_SECONDS,
      });
    }
    underWay.set(caller, count + 1);
    return () => {
      const left = (underWay.get(caller) ?? 1) - 1;
      if (left === 0) underWay.delete(caller);
      else underWay.set(caller, left);
    };
  };
}
