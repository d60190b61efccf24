/** Forgets what has expired, every so often. */
import type { Logger } from "pino";
import type { Storage } from "./open.ts";

/** Expiry is promised to the minute, not to the second. */
const SWEEP_MS = 30_000;

export function startRetention({ requests, objects }: Storage, log: Logger): { stop(): void } {
  const sweep = (): void => {
    Promise.all([requests.expire(), objects.expire()]).catch((error: unknown) =>
      log.error({ err: error }, "expired results could not be removed"),
    );
  };
  sweep();
  const timer = setInterval(sweep, SWEEP_MS).unref();
  return { stop: () => clearInterval(timer) };
}
