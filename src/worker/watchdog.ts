/** Decides when a worker hangs. Knows times only; who pings and who kills is the supervisor's business. */

/** A step this many times its median is no slow step any more. */
const MEDIANS_UNTIL_STALLED = 10;
const KEPT_STEPS = 32;

export class Watchdog {
  readonly #minimumMs: number;
  #lastSignMs: number;
  #lastCheckMs: number;
  readonly #stepsMs: number[] = [];

  /** @param minimumMs Silence shorter than this is never a hang. */
  constructor(minimumMs: number, nowMs: number) {
    this.#minimumMs = minimumMs;
    this.#lastSignMs = nowMs;
    this.#lastCheckMs = nowMs;
  }

  /** The worker did something that a hanging one could not. */
  sign(nowMs: number): void {
    this.#lastSignMs = nowMs;
  }

  step(seconds: number, nowMs: number): void {
    this.sign(nowMs);
    this.#stepsMs.push(seconds * 1_000);
    if (this.#stepsMs.length > KEPT_STEPS) this.#stepsMs.shift();
  }

  get limitMs(): number {
    const sorted = this.#stepsMs.toSorted((a, b) => a - b);
    const median = sorted[Math.floor(sorted.length / 2)] ?? 0;
    return Math.max(this.#minimumMs, MEDIANS_UNTIL_STALLED * median);
  }

  /**
   * True when the worker has been silent for too long. Call it about every `intervalMs`: when far more time than that has passed
   * since the last call, it was this process that stood still (a closed laptop lid, SIGSTOP), and the wait starts anew.
   */
  isStalled(nowMs: number, intervalMs: number): boolean {
    const slept = nowMs - this.#lastCheckMs > 4 * intervalMs + 1_000;
    this.#lastCheckMs = nowMs;
    if (slept) this.#lastSignMs = nowMs;
    return nowMs - this.#lastSignMs > this.limitMs;
  }
}
