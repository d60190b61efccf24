/** What waits for a reader: of previews and queue positions the newest, of steps the last few. */
import { isSuperseded } from "../schema/superseded.ts";
import type { ClientEvent } from "./types.ts";

/** A request has at most 50 steps; more waiting ones come from a server that counts differently. */
const MAX_WAITING = 64;

export class Inbox {
  /** Previews that the reader was too slow to see. */
  dropped = 0;
  readonly #waiting: ClientEvent[] = [];
  #isClosed = false;
  #wake: (() => void) | undefined;

  /** Whether a preview waits that a newer one would replace. */
  get hasPreview(): boolean {
    return this.#waiting.some(({ kind }) => kind === "preview");
  }

  push(event: ClientEvent): void {
    if (isSuperseded(event.kind)) this.#remove(this.#waiting.findIndex(({ kind }) => kind === event.kind));
    if (this.#waiting.length >= MAX_WAITING) this.#remove(0);
    this.#waiting.push(event);
    this.#wake?.();
  }

  /** Nothing more will come; what waits can still be taken. */
  close(): void {
    this.#isClosed = true;
    this.#wake?.();
  }

  /** Resolves with the next event, or with undefined after the last. For one reader. */
  async take(): Promise<ClientEvent | undefined> {
    while (this.#waiting.length === 0 && !this.#isClosed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#waiting.shift();
  }

  #remove(index: number): void {
    const [removed] = index < 0 ? [] : this.#waiting.splice(index, 1);
    if (removed?.kind === "preview") this.dropped += 1;
  }
}
