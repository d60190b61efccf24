/** What waits for the reader of a realtime connection: the newest preview and the newest result; of everything else the last few. */
import type { RealtimeEvent } from "./realtime-types.ts";

const MAX_WAITING = 64;

export class RealtimeInbox {
  #waiting: RealtimeEvent[] = [];
  #end: { readonly error: Error | undefined } | undefined;
  #wake: (() => void) | undefined;

  push(event: RealtimeEvent): void {
    if (this.#end !== undefined) return;
    const isImage = event.kind === "preview" || event.kind === "result";
    const kept = isImage ? this.#waiting.filter(({ kind }) => kind !== event.kind) : this.#waiting;
    this.#waiting = [...kept, event].slice(-MAX_WAITING);
    this.#wake?.();
  }

  /**
   * Nothing more will come; what waits can still be taken.
   * @param error What {@link take} rejects with after that; undefined for none.
   */
  close(error?: Error): void {
    this.#end ??= { error };
    this.#wake?.();
  }

  /** Resolves with the next event, or with undefined after the last; rejects with the error that ended it. For one reader. */
  async take(): Promise<RealtimeEvent | undefined> {
    while (this.#waiting.length === 0 && this.#end === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const event = this.#waiting.shift();
    if (event === undefined && this.#end?.error !== undefined) throw this.#end.error;
    return event;
  }
}
