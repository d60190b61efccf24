/** Sheds load when the event loop lags: an answer in time for some is worth more than a late one for all. */
import underPressure from "@fastify/under-pressure";
import type { FastifyInstance } from "fastify";
import { LatentcastError } from "../../errors.ts";

const RETRY_AFTER_SECONDS = 5;
/** The delay is a mean over this long, so a single large picture being encoded sheds nothing. */
const SAMPLE_MS = 1_000;

/** Refuses new work, and only that: what is running goes on, and probes must tell why the rest is refused. */
export async function shedLoad(app: FastifyInstance, maxEventLoopDelayMs: number): Promise<void> {
  await app.register(underPressure, {
    maxEventLoopDelay: maxEventLoopDelayMs,
    sampleInterval: SAMPLE_MS,
    pressureHandler: async ({ method }, _reply, _type, delayMs) => {
      // Infinite is the library's word for a second without a single measurement, as after one long turn of the loop.
      if (method === "POST" && Number.isFinite(delayMs))
        throw new LatentcastError("overloaded", { retryAfterSeconds: RETRY_AFTER_SECONDS });
    },
  });
}
