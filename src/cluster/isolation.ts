/**
 * A node that stood still or was cut off does not know what was decided about it meanwhile. When it hears itself again it asks: a process
 * that was found dead drops everything and goes on as a new one, any other makes sure of each of its claims by a write.
 */
import type { Logger } from "pino";
import type { Fleet } from "./fleet.ts";

export interface IsolationOptions {
  readonly fleet: Pick<Fleet, "isHearing">;
  readonly isCondemned: () => Promise<boolean>;
  /** Others do its work by now. */
  readonly onCondemned: () => void;
  /** It may have lost some of its claims. */
  readonly onReturn: () => Promise<void>;
  readonly log: Logger;
}

const TICK_MS = 500;
/** A tick that comes this late: the process stood still. */
const SUSPENDED_MS = 2_500;

export class Isolation {
  readonly #options: IsolationOptions;
  #timer: NodeJS.Timeout | undefined;
  #lastTickMs = 0;
  #isAway = false;
  #isAsking = false;

  constructor(options: IsolationOptions) {
    this.#options = options;
  }

  start(): void {
    this.#lastTickMs = performance.now();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    const nowMs = performance.now();
    const elapsedMs = nowMs - this.#lastTickMs;
    this.#lastTickMs = nowMs;
    if (!this.#options.fleet.isHearing || elapsedMs > SUSPENDED_MS) this.#isAway = true;
    else if (this.#isAway && !this.#isAsking) void this.#return();
  }

  async #return(): Promise<void> {
    const { isCondemned, onCondemned, onReturn, log } = this.#options;
    this.#isAsking = true;
    try {
      if (await isCondemned()) onCondemned();
      else await onReturn();
      this.#isAway = false;
    } catch (error) {
      log.warn({ err: error }, "whether this node was found dead could not be asked yet");
    } finally {
      this.#isAsking = false;
    }
  }
}
