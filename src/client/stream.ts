/** One request as a loop over its events. */
import type { Connection } from "./connection.ts";
import { cancelled } from "./error.ts";
import { follow } from "./follow.ts";
import { Inbox } from "./inbox.ts";
import type { ClientResult, ClientEvent } from "./types.ts";

/**
 * The events of one request, for one loop. Nothing is sent before the loop or `result()` starts it. The loop throws the error that
 * ended the request, a {@link ClientError}.
 */
export interface GenerateStream extends AsyncIterable<ClientEvent> {
  /** Resolves with the finished images. May be ignored: what it rejects with never counts as unhandled. */
  result(): Promise<ClientResult>;
  /** Undefined until the server has accepted the request. */
  readonly requestId: string | undefined;
  /** Previews that the loop was too slow to see. */
  readonly dropped: number;
}

/** Why a stream was stopped when its page was closed or left. */
export const PAGE_CLOSED = new Error("the page was closed");

export interface RequestSource {
  /** Resolves with the id of the request. */
  begin(signal: AbortSignal): Promise<string>;
  /** The reader has left before the end. */
  leave(requestId: string): void;
}

export class RequestStream implements GenerateStream {
  readonly #connection: Connection;
  readonly #source: RequestSource;
  readonly #signal: AbortSignal | undefined;
  readonly #stop = new AbortController();
  readonly #inbox = new Inbox();
  #requestId: string | undefined;
  #result: Promise<ClientResult> | undefined;
  #isRead = false;

  constructor(connection: Connection, source: RequestSource, signal: AbortSignal | undefined) {
    this.#connection = connection;
    this.#source = source;
    this.#signal = signal;
  }

  get requestId(): string | undefined {
    return this.#requestId;
  }

  get dropped(): number {
    return this.#inbox.dropped;
  }

  result(): Promise<ClientResult> {
    return this.#start();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ClientEvent, void, undefined> {
    if (this.#isRead) throw new TypeError("a stream can be read once");
    this.#isRead = true;
    const result = this.#start();
    try {
      let event = await this.#inbox.take();
      while (event !== undefined) {
        yield event;
        event = await this.#inbox.take();
      }
      await result;
    } finally {
      // Also reached by `break`; after the end there is nothing left to stop.
      this.#stop.abort();
    }
  }

  #start(): Promise<ClientResult> {
    if (this.#result !== undefined) return this.#result;
    const result = this.#run().finally(() => this.#inbox.close());
    // Without a handler the rejection would end the program, although the loop has thrown the error already.
    result.catch(() => undefined);
    this.#result = result;
    return result;
  }

  async #run(): Promise<ClientResult> {
    const outer = this.#signal;
    const stop = (): void => this.#stop.abort(outer?.reason);
    outer?.addEventListener("abort", stop, { once: true });
    // A page that is closed ends its loops without running them.
    const close = (): void => this.#stop.abort(PAGE_CLOSED);
    globalThis.addEventListener?.("pagehide", close);
    try {
      if (outer?.aborted === true) throw cancelled(outer.reason);
      return await this.#follow(this.#stop.signal);
    } finally {
      outer?.removeEventListener("abort", stop);
      globalThis.removeEventListener?.("pagehide", close);
    }
  }

  async #follow(signal: AbortSignal): Promise<ClientResult> {
    const requestId = await this.#source.begin(signal);
    this.#requestId = requestId;
    const leave = (): void => this.#source.leave(requestId);
    signal.addEventListener("abort", leave, { once: true });
    try {
      return await follow({
        connection: this.#connection,
        requestId,
        signal,
        onEvent: (event) => this.#deliver(event),
      });
    } finally {
      signal.removeEventListener("abort", leave);
    }
  }

  async #deliver(event: ClientEvent): Promise<void> {
    // Two previews in one network chunk: a reader that keeps up gets its turn between them.
    if (event.kind === "preview" && this.#inbox.hasPreview) await new Promise((resolve) => setTimeout(resolve, 0));
    this.#inbox.push(event);
  }
}
