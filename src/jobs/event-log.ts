/**
 * The events of one job, numbered. A listener is a place in the list and nothing is copied for it, so one that is slow or comes
 * back later goes on where it stopped and finds the newest preview and position there.
 */
import { Changes } from "../async/changes.ts";
import { isSuperseded } from "../schema/superseded.ts";
import { isTerminal, type JobEvent, type JobPreview, type QueuedEvent, type TerminalEvent } from "./events.ts";

export interface Entry {
  /** Counts from 1. Numbers of superseded events are missing. */
  readonly sequence: number;
  readonly event: JobEvent;
}

export interface CursorOptions {
  /** The last entry that was read; without one, a listener first gets the state of the job: see {@link EventLog.follow}. */
  readonly after?: number | undefined;
  /** The listener has gone, perhaps before it read anything. */
  readonly signal?: AbortSignal | undefined;
}

export class EventLog {
  readonly #changes = new Changes();
  readonly #cursors = new Set<Cursor>();
  readonly #onDeserted: () => void;
  #entries: readonly Entry[] = [];
  #sequence = 0;
  /** Previews so far; a cursor remembers the number that it has caught up with. */
  #previews = 0;
  #droppedByLeavers = 0;

  /** @param onDeserted Called when the last of some listeners leaves before the job has ended. */
  constructor(onDeserted: () => void = () => undefined) {
    this.#onDeserted = onDeserted;
  }

  get terminal(): TerminalEvent | undefined {
    const last = this.#entries.at(-1)?.event;
    return last !== undefined && isTerminal(last) ? last : undefined;
  }

  /** Undefined before the first, and as long as the newest place is that of a job which has started since. */
  get place(): QueuedEvent | undefined {
    const place = this.#newest("queued", "started");
    return place?.event.kind === "queued" ? place.event : undefined;
  }

  get newestPreview(): JobPreview | undefined {
    const newest = this.#newest("preview");
    return newest?.event.kind === "preview" ? newest.event : undefined;
  }

  /** Previews that slow listeners did not get to see. */
  get dropped(): number {
    let sum = this.#droppedByLeavers;
    for (const cursor of this.#cursors) sum += cursor.dropped(this.#previews);
    return sum;
  }

  /**
   * The terminal event is the last entry: whatever comes after it is not kept.
   * @param sequence Given by the source of the events, for one that is read in several places; what is not news is not kept.
   */
  append(event: JobEvent, sequence = this.#sequence + 1): void {
    if (this.terminal !== undefined || sequence <= this.#sequence) return;
    this.#sequence = sequence;
    if (event.kind === "preview") this.#previews += 1;
    const kept = isSuperseded(event.kind)
      ? this.#entries.filter((entry) => entry.event.kind !== event.kind)
      : this.#entries;
    this.#entries = [...kept, { sequence: this.#sequence, event }];
    this.#changes.announce();
  }

  /**
   * A new listener, counted from now until it leaves its loop, has read the last event, or `signal` fires. Without `after` it first gets
   * its position or that it has started, the newest step and preview, then everything; of an ended job the last event.
   */
  follow({ after, signal }: CursorOptions = {}): AsyncIterable<Entry> {
    const first = this.entriesAfter(after);
    const cursor = new Cursor(
      {
        next: (reader) => this.#nextFor(reader),
        changed: (stop) => this.#changes.next(stop),
        left: (reader) => this.#leave(reader),
      },
      {
        first: new Set(first.map(({ sequence }) => sequence)),
        joinedAt: this.#sequence,
        previewsSeen: this.#previews - (first.some(({ event }) => event.kind === "preview") ? 1 : 0),
        signal,
      },
    );
    this.#cursors.add(cursor);
    cursor.open();
    return cursor;
  }

  /** What a new listener gets at once. */
  entriesAfter(after: number | undefined): readonly Entry[] {
    // A place beyond the end was never given out.
    if (after === undefined || after > this.#sequence) return this.#standing();
    return this.#entries.filter(({ sequence }) => sequence > after);
  }

  #standing(): Entry[] {
    if (this.terminal !== undefined) return this.#entries.slice(-1);
    const standing = [this.#newest("queued", "started"), this.#newest("progress"), this.#newest("preview")];
    return standing.filter((entry) => entry !== undefined);
  }

  #newest(...kinds: JobEvent["kind"][]): Entry | undefined {
    return this.#entries.findLast(({ event }) => kinds.includes(event.kind));
  }

  #nextFor(reader: Cursor): Entry | undefined {
    const next = this.#entries.find(({ sequence }) => reader.wants(sequence));
    if (next !== undefined) reader.read(next, this.#previews);
    return next;
  }

  #leave(reader: Cursor): void {
    if (!this.#cursors.delete(reader)) return;
    this.#droppedByLeavers += reader.dropped(this.#previews);
    if (this.#cursors.size === 0 && this.terminal === undefined) this.#onDeserted();
  }
}

interface CursorPorts {
  next(cursor: Cursor): Entry | undefined;
  changed(signal: AbortSignal): Promise<void>;
  left(cursor: Cursor): void;
}

interface CursorStart {
  /** Of the entries before it came, those that it gets. */
  readonly first: ReadonlySet<number>;
  readonly joinedAt: number;
  readonly previewsSeen: number;
  readonly signal: AbortSignal | undefined;
}

class Cursor implements AsyncIterable<Entry> {
  readonly #ports: CursorPorts;
  readonly #start: CursorStart;
  readonly #gone = new AbortController();
  #seen = 0;
  #previewsSeen: number;
  #droppedWhileReading = 0;

  constructor(ports: CursorPorts, start: CursorStart) {
    this.#ports = ports;
    this.#start = start;
    this.#previewsSeen = start.previewsSeen;
  }

  open(): void {
    const { signal } = this.#start;
    if (signal?.aborted === true) this.#leave();
    else signal?.addEventListener("abort", this.#leave, { once: true });
  }

  wants(sequence: number): boolean {
    return sequence > this.#seen && (sequence > this.#start.joinedAt || this.#start.first.has(sequence));
  }

  /** @param previews How many there have been; only the newest of them can still be read. */
  read({ sequence, event }: Entry, previews: number): void {
    this.#seen = sequence;
    if (event.kind !== "preview") return;
    this.#droppedWhileReading += Math.max(0, previews - this.#previewsSeen - 1);
    this.#previewsSeen = previews;
  }

  /** The newest of the unread previews is not lost yet. */
  dropped(previews: number): number {
    return this.#droppedWhileReading + Math.max(0, previews - this.#previewsSeen - 1);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Entry, void, undefined> {
    try {
      while (!this.#gone.signal.aborted) {
        const entry = this.#ports.next(this);
        if (entry === undefined) {
          await this.#ports.changed(this.#gone.signal);
          continue;
        }
        yield entry;
        if (isTerminal(entry.event)) return;
      }
    } finally {
      this.#leave();
    }
  }

  readonly #leave = (): void => {
    this.#start.signal?.removeEventListener("abort", this.#leave);
    this.#gone.abort();
    this.#ports.left(this);
  };
}
