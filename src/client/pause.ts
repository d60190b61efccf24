/** How long to wait before trying again: soon at first, then every few seconds; about half a minute in all. */

const PAUSES_MS = [100, 300, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000];

/** The pause before attempt `attempt` (from 0), up to a quarter shorter by chance so that clients do not return all at once. */
export function pauseBefore(attempt: number): number | undefined {
  const ms = PAUSES_MS[attempt];
  return ms === undefined ? undefined : ms * (1 - Math.random() / 4);
}

/** Resolves after `ms`, or at once when aborted. With `keepsAlive` false Node may end meanwhile. */
export function pauseUnlessAborted(ms: number, signal: AbortSignal, { keepsAlive = true } = {}): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer: ReturnType<typeof setTimeout> | number = setTimeout(done, ms);
    // A number in browsers.
    if (!keepsAlive && typeof timer === "object") timer.unref();
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}
