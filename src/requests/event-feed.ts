/**
 * The named events of one request. Each is numbered when it happens and encoded once, when the first listener reads it; a listener
 * is only a place in the list, so one that is slow or returns later goes on where it stopped and finds the newest preview there.
 */
import { toAsciiJson } from "../schema/ascii-json.ts";
import type { RequestEventName } from "../schema/queue.ts";

/** The last event of every request, in this process or after it. */
export const FINAL_EVENT_ID = "end";

/** Kinds of which a newer one makes an older one worthless. */
const SUPERSEDED = new Set<RequestEventName>(["queued", "preview"]);

class FeedEntry {
  readonly id: string;
  readonly sequence: number;
  readonly name: RequestEventName;
  readonly #json: () => string;
  #frame: Buffer | undefined;

  constructor(id: string, sequence: number, name: RequestEventName, json: () => string) {
    this.id = id;
    this.sequence = sequence;
    this.name = name;
    this.#json = json;
  }

  /** Nothing is encoded for nobody: base64 of a picture nobody watches would be wasted. */
  get frame(): Buffer {
    this.#frame ??= eventFrame(this.id, this.name, this.#json());
    return this.#frame;
  }
}

export class EventFeed {
  readonly #generation: string;
  #entries: readonly FeedEntry[] = [];
  #sequence = 0;
  #isClosed = false;
  readonly #wakers = new Set<() => void>();

  /** @param generation Tells the numbers of this process from those of an earlier one that ran the same request. */
  constructor(generation: string) {
    this.#generation = generation;
  }

  publish(name: RequestEventName, data: () => object): void {
    this.#add(name, `${this.#generation}.${this.#sequence + 1}`, () => toAsciiJson(data()));
  }

  /** The last event. Its text is JSON already: the body of the result. */
  end(name: "result" | "error", json: string): void {
    this.#add(name, FINAL_EVENT_ID, () => json);
    this.close();
  }

  /** Listeners end once they have read everything. */
  close(): void {
    this.#isClosed = true;
    this.#wake();
  }

  /**
   * Frames from `lastEventId` on. Without one, or with one of another process, first how things stand: where the request is and the
   * newest preview. Ends with the feed, or when `signal` fires.
   */
  async *listen(lastEventId: string | undefined, signal: AbortSignal): AsyncGenerator<Buffer, void, undefined> {
    const { after, snapshot } = this.#startingPoint(lastEventId);
    let seen = after;
    for (const entry of snapshot) yield entry.frame;
    while (!signal.aborted) {
      const next = this.#entries.find(({ sequence }) => sequence > seen);
      if (next !== undefined) {
        seen = next.sequence;
        yield next.frame;
      } else if (this.#isClosed) {
        return;
      } else {
        await this.#changed(signal);
      }
    }
  }

  /** Something happened; what it was is for others to tell. Yields at once, then at most once for everything since the last time. */
  async *changes(signal: AbortSignal): AsyncGenerator<void, void, undefined> {
    while (!signal.aborted) {
      const seen = this.#sequence;
      const wasClosed = this.#isClosed;
      yield;
      if (wasClosed) return;
      if (this.#sequence === seen && !this.#isClosed) await this.#changed(signal);
    }
  }

  #startingPoint(lastEventId: string | undefined): { after: number; snapshot: FeedEntry[] } {
    const [generation, sequence] = lastEventId?.split(".", 2) ?? [];
    if (generation === this.#generation && sequence !== undefined && /^\d+$/.test(sequence)) {
      return { after: Number(sequence), snapshot: [] };
    }
    const newest = new Map<RequestEventName, FeedEntry>();
    for (const entry of this.#entries) newest.set(entry.name, entry);
    // A request that has started is no longer queued, unless its worker died and it waits again.
    const queued = newest.get("queued");
    const started = newest.get("started");
    if (queued !== undefined && started !== undefined)
      newest.delete(queued.sequence > started.sequence ? "started" : "queued");
    const snapshot = [...newest.values()].toSorted((a, b) => a.sequence - b.sequence);
    return { after: this.#sequence, snapshot };
  }

  #add(name: RequestEventName, id: string, json: () => string): void {
    if (this.#isClosed) return;
    this.#sequence += 1;
    const kept = SUPERSEDED.has(name) ? this.#entries.filter((entry) => entry.name !== name) : this.#entries;
    this.#entries = [...kept, new FeedEntry(id, this.#sequence, name, json)];
    this.#wake();
  }

  #wake(): void {
    for (const wake of [...this.#wakers]) wake();
  }

  #changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#wakers.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#wakers.add(done);
      signal.addEventListener("abort", done);
      if (signal.aborted) done();
    });
  }
}

/**
 * Bytes, not text: every listener gets the same ones, where a string would be encoded again for each of them (two fifths of an event's cost
 * with a hundred listeners).
 * @param json One line, ASCII.
 */
export function eventFrame(id: string, name: RequestEventName, json: string): Buffer {
  return Buffer.from(`id: ${id}\nevent: ${name}\ndata: ${json}\n\n`, "latin1");
}
