/** Timers for durations that come from settings and clients, which may be longer than Node's own take. */

/** Node fires a timer of more than 2^31 - 1 ms (24.8 days) after 1 ms, with a warning (nodejs/node#4541). */
const LONGEST_MS = 2 ** 31 - 1;

export interface Timer {
  cancel(): void;
}

export interface TimerOptions {
  /** A process with nothing else to do ends without waiting for it. */
  readonly unref?: boolean;
}

/** Calls back once, after any number of milliseconds; never for Infinity. */
export function after(ms: number, callback: () => void, { unref = false }: TimerOptions = {}): Timer {
  const endMs = performance.now() + ms;
  let timer: NodeJS.Timeout | undefined;
  const wait = (leftMs: number): void => {
    timer = setTimeout(
      () => {
        if (leftMs <= LONGEST_MS) callback();
        else wait(endMs - performance.now());
      },
      Math.min(Math.max(leftMs, 0), LONGEST_MS),
    );
    if (unref) timer.unref();
  };
  if (ms !== Number.POSITIVE_INFINITY) wait(ms);
  return { cancel: () => clearTimeout(timer) };
}

/** Resolves after `ms`, or at once when `signal` fires. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      timer.cancel();
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = after(ms, done);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}
