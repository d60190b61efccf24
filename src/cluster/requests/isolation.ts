/**
 * A node that stood still or was cut off does not know what was decided about it meanwhile. When it hears itself again it asks: a process
 * that was found dead drops everything and goes on as a new one, any other makes sure of each of its claims by a write.
 */
import type { Logger } from "pino";
import type { Fleet } from "../fleet/fleet.ts";
import { Ticks } from "../fleet/ticks.ts";

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
const SUSPENDED_MS = 2_500;

export class Isolation {
  readonly #options: IsolationOptions;
  readonly #ticks = new Ticks({
    intervalMs: TICK_MS,
    suspendedMs: SUSPENDED_MS,
    onTick: (elapsedMs) => this.#tick(elapsedMs),
  });
  #isAway = false;
  #isAsking = false;

  constructor(options: IsolationOptions) {
    this.#options = options;
  }

  start(): void {
    this.#ticks.start();
  }

  close(): void {
    this.#ticks.close();
  }

  #tick(elapsedMs: number | undefined): void {
    if (!this.#options.fleet.isHearing || elapsedMs === undefined) this.#isAway = true;
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
