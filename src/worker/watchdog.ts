/** Decides when a worker hangs. Knows times only; who pings and who kills is the supervisor's business. */

/**
 * A piece of work that takes this many times as long as a step of its size is no slow work any more. A step may take fifteen times as long
 * beside a busy process (pytorch#57715), the first of a size is reckoned from other sizes, and a decode takes a few steps' time.
 */
const TIMES_STEP = 30;

/** The longest single piece of work that a worker may be busy with. */
export interface LongestPiece {
  /** What it is expected to take; null when nothing has been measured. */
  readonly seconds: number | null;
  /** Patience that it has in any case. */
  readonly atLeastSeconds?: number;
}

export interface StallLimits {
  /** Silence shorter than this is never a hang. */
  readonly minimumMs: number;
  /** The limit for work that has not been measured yet. */
  readonly unknownMs: number;
}

/** How long a worker that holds this work may show no progress. */
export function stallLimitMs(
  { minimumMs, unknownMs }: StallLimits,
  { seconds, atLeastSeconds = 0 }: LongestPiece,
): number {
  if (seconds === null) return Math.max(minimumMs, unknownMs);
  return Math.max(minimumMs, seconds * 1_000 * TIMES_STEP, atLeastSeconds * 1_000);
}

export class Watchdog {
  #lastSignMs: number;
  #lastCheckMs: number;

  constructor(nowMs: number) {
    this.#lastSignMs = nowMs;
    this.#lastCheckMs = nowMs;
  }

  /** The worker did something that a hanging one could not. */
  sign(nowMs: number): void {
    this.#lastSignMs = nowMs;
  }

  /**
   * True when the worker has been silent for longer than `limitMs`. Call it about every `intervalMs`: when far more time than that has
   * passed since the last call, it was this process that stood still (a closed laptop lid, SIGSTOP), and the wait starts anew.
   */
  isStalled(nowMs: number, intervalMs: number, limitMs: number): boolean {
    const slept = nowMs - this.#lastCheckMs > 4 * intervalMs + 1_000;
    this.#lastCheckMs = nowMs;
    if (slept) this.#lastSignMs = nowMs;
    return nowMs - this.#lastSignMs > limitMs;
  }
}
