/** What has been opened so far, to be closed in reverse order: at the end, or when opening the next thing fails. */
import { setMaxListeners } from "node:events";

export class Disposers {
  readonly #steps: (() => unknown)[] = [];
  readonly #closing = new AbortController();
  #closed: Promise<void> | undefined;

  constructor() {
    // Each request whose end could not be kept waits with a listener of its own: many are no leak.
    setMaxListeners(0, this.#closing.signal);
  }

  /** Fires before the first step runs. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Runs when everything that was added later has been closed. */
  add(step: () => unknown): void {
    this.#steps.push(step);
  }

  /** Runs every step once, also those after one that failed; then rejects with the first error. */
  close(): Promise<void> {
    return (this.#closed ??= this.#run());
  }

  async #run(): Promise<void> {
    this.#closing.abort();
    const errors: unknown[] = [];
    for (const step of this.#steps.toReversed()) {
      try {
        await step();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }
}
