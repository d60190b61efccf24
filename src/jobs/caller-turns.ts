/**
 * How many jobs one caller has at once, of those that it would like to have. The engine works oldest first, so a caller whose next job comes
 * when its last one has ended stands behind everybody who came meanwhile: twenty connections of one key cost another key the wait for
 * one job, not for twenty.
 */

export interface CallerTurn {
  /** Lets the caller's next one begin. Only the first call counts. */
  end(): void;
}

/** Whose turn it is to be, and where: what one pool of devices can do says nothing about another. */
export interface TurnPlace {
  readonly caller: string;
  readonly pool: string;
}

type Waiter = (turn: CallerTurn) => void;

interface Queue {
  readonly pool: string;
  held: number;
  readonly waiting: Set<Waiter>;
}

export class CallerTurns {
  readonly #limit: (pool: string) => number;
  readonly #queues = new Map<string, Queue>();

  /** @param limit Turns of one caller at once in a pool; asked whenever somebody waits. */
  constructor(limit: (pool: string) => number) {
    this.#limit = limit;
  }

  /** Resolves with a turn, in the order in which they were asked for, or with undefined when `signal` fires first. */
  take({ caller, pool }: TurnPlace, signal: AbortSignal): Promise<CallerTurn | undefined> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve(undefined);
      const name = JSON.stringify([caller, pool]);
      const queue = this.#queues.get(name) ?? { pool, held: 0, waiting: new Set() };
      this.#queues.set(name, queue);
      const leave = (): void => {
        queue.waiting.delete(waiter);
        this.#forget(name, queue);
        resolve(undefined);
      };
      const waiter: Waiter = (turn) => {
        signal.removeEventListener("abort", leave);
        resolve(turn);
      };
      signal.addEventListener("abort", leave, { once: true });
      queue.waiting.add(waiter);
      this.#grant(name, queue);
    });
  }

  #grant(name: string, queue: Queue): void {
    while (queue.held < this.#limit(queue.pool)) {
      const [waiter] = queue.waiting;
      if (waiter === undefined) break;
      queue.waiting.delete(waiter);
      queue.held += 1;
      waiter({ end: this.#ending(name, queue) });
    }
  }

  #ending(name: string, queue: Queue): () => void {
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      queue.held -= 1;
      this.#grant(name, queue);
      this.#forget(name, queue);
    };
  }

  #forget(name: string, { held, waiting }: Queue): void {
    if (held === 0 && waiting.size === 0) this.#queues.delete(name);
  }
}
