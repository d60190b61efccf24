/** How much memory the images of unfinished requests may hold together: requests are small, their images are not. */
import { LatentcastError } from "../errors.ts";

const RETRY_AFTER_SECONDS = 5;

export class InputMemory {
  readonly #limitBytes: number;
  #heldBytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** @param isKnown It was accepted before: the limit is not applied again. */
  open({ isKnown = false } = {}): HeldMemory {
    let held = 0;
    const settle = (bytes: number): void => {
      this.#heldBytes += bytes - held;
      held = bytes;
    };
    const claim = (bytes: number): void => {
      const others = this.#heldBytes - held;
      // Whoever is alone has room, or it would never get any.
      if (bytes > held && others > 0 && others + bytes > this.#limitBytes && !isKnown) throw full();
      settle(bytes);
    };
    return { claim, settle };
  }
}

/** What one request holds. Both calls name all of it, in place of what it held so far. */
export interface HeldMemory {
  /** Throws `queue_full` where there is no room for more. */
  claim(bytes: number): void;
  /** Of a request that was accepted: what it turned out to hold, 0 when it has ended. */
  settle(bytes: number): void;
}

function full(): LatentcastError {
  const message = "The images of waiting requests fill the memory that is set aside for them; try again later.";
  return new LatentcastError("queue_full", { message, retryAfterSeconds: RETRY_AFTER_SECONDS });
}
