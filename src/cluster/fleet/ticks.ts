/** A timer that notices when this process stood still: what it could not hear meanwhile says nothing about others. */

export interface TicksOptions {
  readonly intervalMs: number;
  /** A tick that comes this late: the process stood still. */
  readonly suspendedMs: number;
  /** @param elapsedMs Since the tick before; undefined when the process stood still. */
  readonly onTick: (elapsedMs: number | undefined) => void;
}

export class Ticks {
  readonly #options: TicksOptions;
  #timer: NodeJS.Timeout | undefined;
  #lastMs = 0;

  constructor(options: TicksOptions) {
    this.#options = options;
  }

  start(): void {
    this.#lastMs = performance.now();
    this.#timer = setInterval(() => this.#tick(), this.#options.intervalMs);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    const nowMs = performance.now();
    const elapsedMs = nowMs - this.#lastMs;
    this.#lastMs = nowMs;
    this.#options.onTick(elapsedMs > this.#options.suspendedMs ? undefined : elapsedMs);
  }
}
