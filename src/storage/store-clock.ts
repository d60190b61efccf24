/**
 * The time by which things expire: it goes on while a server runs, and stands still while none does. It is measured with the monotonic
 * clock, so a wall clock that jumps throws nothing away. It starts as the wall clock of the day when the store was made, which is the
 * scale of the times in stores of version 1.
 */
export class StoreClock {
  readonly #startMs: number;
  readonly #openedAtMs: number;
  readonly #monotonicMs: () => number;

  /** @param startMs What it showed last. */
  constructor(startMs: number, monotonicMs: () => number) {
    this.#startMs = startMs;
    this.#monotonicMs = monotonicMs;
    this.#openedAtMs = monotonicMs();
  }

  /** Whole milliseconds. */
  now(): number {
    return Math.floor(this.#startMs + this.#monotonicMs() - this.#openedAtMs);
  }
}
