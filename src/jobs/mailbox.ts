/** One listener's events. Control events always arrive; of previews and queue positions only the newest waits for a slow reader. */
import { isTerminal, type JobEvent } from "./events.ts";

/** Kinds of which a newer one makes an unread older one worthless. */
const SUPERSEDED = new Set<JobEvent["kind"]>(["preview", "queued"]);

/**
 * An async iterable of a job's events for one consumer. It ends after the terminal event, or when the consumer leaves the loop;
 * then `onLeave` runs once. At most one preview, one position, one event a step and the ending wait in it.
 */
export class Mailbox implements AsyncIterable<JobEvent> {
  /** Previews that this reader was too slow to see. */
  dropped = 0;
  readonly #waiting: JobEvent[] = [];
  readonly #onLeave: (mailbox: Mailbox) => void;
  #wake: (() => void) | undefined;
  #closed = false;

  constructor(onLeave: (mailbox: Mailbox) => void) {
    this.#onLeave = onLeave;
  }

  push(event: JobEvent): void {
    if (this.#closed) return;
    if (SUPERSEDED.has(event.kind)) {
      const older = this.#waiting.findIndex(({ kind }) => kind === event.kind);
      if (older >= 0) this.#waiting.splice(older, 1);
      if (older >= 0 && event.kind === "preview") this.dropped += 1;
    }
    this.#waiting.push(event);
    this.#wake?.();
  }

  /** The reader has gone, perhaps while it waited. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#waiting.length = 0;
    this.#wake?.();
    this.#onLeave(this);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<JobEvent, void, undefined> {
    try {
      while (!this.#closed) {
        const event = this.#waiting.shift();
        if (event === undefined) {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
          continue;
        }
        yield event;
        if (isTerminal(event)) return;
      }
    } finally {
      this.close();
    }
  }
}
