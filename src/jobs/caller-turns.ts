/**
 * How many jobs one caller has at once, of those that it would like to have. The engine works oldest first, so a caller whose next job comes
 * when its last one has ended stands behind everybody who came meanwhile: twenty connections of one key cost another key the wait for
 * one job, not for twenty.
 */

export interface CallerTurn {
  /** Lets the caller's next one begin. Only the first call counts. */
  end(): void;
}

type Waiter = (turn: CallerTurn) => void;

interface Caller {
  held: number;
  readonly waiting: Set<Waiter>;
}

export class CallerTurns {
  readonly #limit: () => number;
  readonly #callers = new Map<string, Caller>();

  /** @param limit Turns of one caller at once; asked whenever somebody waits. */
  constructor(limit: () => number) {
    this.#limit = limit;
  }

  /** Resolves with a turn, in the order in which they were asked for, or with undefined when `signal` fires first. */
  take(name: string, signal: AbortSignal): Promise<CallerTurn | undefined> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve(undefined);
      const caller = this.#callers.get(name) ?? { held: 0, waiting: new Set() };
      this.#callers.set(name, caller);
      const leave = (): void => {
        caller.waiting.delete(waiter);
        this.#forget(name, caller);
        resolve(undefined);
      };
      const waiter: Waiter = (turn) => {
        signal.removeEventListener("abort", leave);
        resolve(turn);
      };
      signal.addEventListener("abort", leave, { once: true });
      caller.waiting.add(waiter);
      this.#grant(name, caller);
    });
  }

  #grant(name: string, caller: Caller): void {
    while (caller.held < this.#limit()) {
      const [waiter] = caller.waiting;
      if (waiter === undefined) break;
      caller.waiting.delete(waiter);
      caller.held += 1;
      waiter({ end: this.#ending(name, caller) });
    }
  }

  #ending(name: string, caller: Caller): () => void {
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      caller.held -= 1;
      this.#grant(name, caller);
      this.#forget(name, caller);
    };
  }

  #forget(name: string, { held, waiting }: Caller): void {
    if (held === 0 && waiting.size === 0) this.#callers.delete(name);
  }
}
