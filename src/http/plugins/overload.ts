/** Sheds load when the event loop lags: an answer in time for some is worth more than a late one for all. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { FastifyInstance } from "fastify";
import { LatentcastError } from "../../errors.ts";
import { wantsSocket } from "../upgrade.ts";

const RETRY_AFTER_SECONDS = 5;
/** The delay is a mean over this long, so a single large image being encoded sheds nothing. */
const SAMPLE_MS = 1_000;
const RESOLUTION_MS = 10;

/**
 * Refuses new work, and only that: what is running goes on, and probes must still be able to say why the rest is refused.
 *
 * Not @fastify/under-pressure: its timer also reads the memory use from `/proc`, which throws once file descriptors have run out and
 * then ends the process.
 */
export function shedLoad(app: FastifyInstance, maxDelayMs: number): void {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  histogram.enable();
  let delayMs = 0;
  const timer = setInterval(() => {
    const meanMs = histogram.mean / 1e6 - RESOLUTION_MS;
    // NaN is a sample without a single measurement, as after one long iteration of the loop: no news.
    if (Number.isFinite(meanMs)) delayMs = Math.max(0, meanMs);
    histogram.reset();
  }, SAMPLE_MS).unref();
  app.addHook("onClose", async () => {
    clearInterval(timer);
    histogram.disable();
  });
  app.addHook("onRequest", async ({ method, raw }) => {
    if ((method === "POST" || wantsSocket(raw)) && delayMs > maxDelayMs)
      throw new LatentcastError("overloaded", { retryAfterSeconds: RETRY_AFTER_SECONDS });
  });
}
