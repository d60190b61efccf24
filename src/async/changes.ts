/** Waiting for something to happen that others announce. Runs in browsers too. */

export class Changes {
  readonly #waiters = new Set<() => void>();

  /** Wakes everybody who waits. */
  announce(): void {
    for (const wake of [...this.#waiters]) wake();
  }

  /** Resolves with the next announcement, or when `signal` fires; the caller looks which it was. */
  next(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#waiters.delete(done);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      this.#waiters.add(done);
      signal?.addEventListener("abort", done);
      if (signal?.aborted === true) done();
    });
  }
}
