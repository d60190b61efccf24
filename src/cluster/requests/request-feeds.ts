/** The requests that somebody listens to at this gateway, each followed once. */
import { RequestFeed, type RequestFeedOptions } from "./request-feed.ts";

interface Shared {
  readonly feed: RequestFeed;
  readonly ready: Promise<void>;
  readers: number;
}

export class RequestFeeds {
  readonly #options: Omit<RequestFeedOptions, "id">;
  readonly #shared = new Map<string, Shared>();

  constructor(options: Omit<RequestFeedOptions, "id">) {
    this.#options = options;
  }

  /** Runs `read` on the feed of a request, once it knows what there was to be known; it is closed when nobody reads it any more. */
  async *reading<Value>(
    id: string,
    read: (feed: RequestFeed) => AsyncIterable<Value>,
  ): AsyncGenerator<Value, void, undefined> {
    const shared = this.#shared.get(id) ?? this.#open(id);
    shared.readers += 1;
    try {
      await shared.ready;
      yield* read(shared.feed);
    } finally {
      shared.readers -= 1;
      if (shared.readers === 0) {
        this.#shared.delete(id);
        shared.feed.close();
      }
    }
  }

  #open(id: string): Shared {
    const feed = new RequestFeed({ ...this.#options, id });
    const shared = { feed, ready: feed.ready(), readers: 0 };
    this.#shared.set(id, shared);
    return shared;
  }
}
