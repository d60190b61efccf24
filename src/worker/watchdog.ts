/** Decides when a worker hangs. Knows times only; who pings and who kills is the supervisor's business. */

/** Work that takes this many times what the same work took before is no slow work any more. */
const TIMES_MEASURED = 10;
/** The same for a size that this worker has not drawn yet: its time is only reckoned from other sizes. */
const TIMES_RECKONED = 30;

/** The longest single piece of work that a worker may be busy with. */
export interface LongestPiece {
  /** Null when nothing has been measured. */
  readonly seconds: number | null;
  /** Whether work of this size has been measured, or only smaller work. */
  readonly isMeasured: boolean;
}

export interface StallLimits {
  /** Silence shorter than this is never a hang. */
  readonly minimumMs: number;
  /** The limit for work of which nobody knows how long it takes. */
  readonly unknownMs: number;
}

/** How long a worker that holds this work may show no progress. */
export function stallLimitMs({ minimumMs, unknownMs }: StallLimits, { seconds, isMeasured }: LongestPiece): number {
  if (seconds === null) return Math.max(minimumMs, unknownMs);
  return Math.max(minimumMs, seconds * 1_000 * (isMeasured ? TIMES_MEASURED : TIMES_RECKONED));
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
