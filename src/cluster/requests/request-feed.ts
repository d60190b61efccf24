/**
 * One request as a gateway follows it, for however many listen: what its node says as it happens, asked for again where something is
 * missing; its place in the queue; and its end, read from the record. Nothing here is kept: another gateway builds the same list.
 */
import type { Logger } from "pino";
import { Changes } from "../../async/changes.ts";
import { pause } from "../../async/timer.ts";
import { EventLog, type CursorOptions, type Entry } from "../../jobs/event-log.ts";
import type { JobEvent, TerminalEvent } from "../../jobs/events.ts";
import { logLineNow, logLineOf } from "../../requests/live-request.ts";
import type { LogLine } from "../../schema/queue.ts";
import type { EndedRequest, RequestStore } from "../../storage/request-store.ts";
import type { Bus, Subscription } from "../bus.ts";
import { durableEvent, isControl, sequenceOf, toJobEvent, type DurableEvent } from "./durable-wire.ts";
import { askFeed } from "./feed-question.ts";
import { ImageAssembly } from "../image-parts.ts";
import type { Layout } from "../layout.ts";
import type { RequestMap } from "./request-map.ts";

export interface RequestFeedOptions {
  readonly bus: Bus;
  readonly layout: Layout;
  readonly store: Pick<RequestStore, "ended">;
  readonly map: RequestMap;
  readonly id: string;
  readonly log: Logger;
}

/** A running request that says nothing for this long is asked. */
const SILENCE_MS = 3_000;
/** Places change with every request that starts; listeners hear of it this often at most. */
const PLACE_PAUSE_MS = 250;
/** Only ends the log for its readers. How the request ended is in its record. */
const OVER: TerminalEvent = { kind: "cancelled", reason: "shutdown" };

export class RequestFeed {
  readonly #options: RequestFeedOptions;
  readonly #log = new EventLog();
  readonly #changes = new Changes();
  readonly #closed = new AbortController();
  readonly #subscription: Subscription;
  readonly #unlisten: () => void;
  readonly #silence: NodeJS.Timeout;
  /** The newest run, and what has been read of it. */
  #run = 0;
  #n = 0;
  #c = 0;
  #places = 0;
  #place: number | undefined;
  #assembly: { readonly sequence: number; readonly images: ImageAssembly } | undefined;
  #asking: Promise<void> | undefined;
  #isReadingEnd = false;
  readonly #logs: LogLine[] = [];
  /** Where those of the newest run begin. */
  #linesOfRun = 0;
  #ended: EndedRequest | undefined;
  #changeCount = 0;

  constructor(options: RequestFeedOptions) {
    const { bus, layout, map, id } = options;
    this.#options = options;
    this.#subscription = bus.subscribe(layout.events(id), ({ header, payload }) => this.#hear(header, payload));
    this.#unlisten = map.listen(id, () => this.#recordChanged());
    this.#silence = setInterval(() => this.#look(), SILENCE_MS);
    void this.#followPlace();
  }

  /** Undefined until the end has been read. */
  get ended(): EndedRequest | undefined {
    return this.#ended;
  }

  get logs(): readonly LogLine[] {
    return this.#logs;
  }

  /** Resolves when it knows what there was to be known when it was opened. */
  async ready(): Promise<void> {
    if (this.#state?.kind === "running") await this.#ask();
    else this.#placeChanged();
  }

  /** Ends after the last event before the end of the request. */
  follow(options: CursorOptions): AsyncIterable<Entry> {
    return this.#log.follow(options);
  }

  /** Yields at once, then at most once for everything since the last time; ends when the request has, or `signal` fires. */
  async *changes(signal: AbortSignal): AsyncGenerator<void, void, undefined> {
    while (!signal.aborted) {
      const seen = this.#changeCount;
      const isOver = this.#log.terminal !== undefined;
      yield;
      if (isOver) return;
      if (this.#changeCount === seen) await this.#changes.next(signal);
    }
  }

  close(): void {
    this.#closed.abort();
    clearInterval(this.#silence);
    this.#subscription.close();
    this.#unlisten();
  }

  get #state(): ReturnType<RequestMap["get"]> {
    return this.#options.map.get(this.#options.id);
  }

  #hear(header: unknown, payload: Buffer): void {
    const parsed = durableEvent.safeParse(header);
    if (!parsed.success) return;
    this.#silence.refresh();
    const { run, n, c, event } = parsed.data;
    if (run < this.#run) return;
    if (event.kind === "over") return void this.#readEnd();
    const before = run === this.#run ? this.#c : 0;
    // Something that nobody may miss did not come.
    if (c > before + (isControl(event) ? 1 : 0)) return void this.#ask();
    if (event.kind === "preview") this.#hearPart({ run, n, c, event }, payload);
    else this.#append({ run, n, c }, toJobEvent(event));
  }

  #hearPart(
    {
      run,
      n,
      c,
      event,
    }: Pick<DurableEvent, "run" | "n" | "c"> & {
      readonly event: Extract<DurableEvent["event"], { kind: "preview" }>;
    },
    bytes: Buffer,
  ): void {
    const sequence = sequenceOf(run, n);
    if (this.#assembly?.sequence !== sequence) this.#assembly = { sequence, images: new ImageAssembly() };
    this.#assembly.images.add({ part: event.part, bytes });
    const { images } = this.#assembly.images;
    if (images === undefined) return;
    this.#append({ run, n, c }, { kind: "preview", step: event.step, totalSteps: event.total_steps, images });
  }

  #append({ run, n, c }: Pick<DurableEvent, "run" | "n" | "c">, event: JobEvent): void {
    if (run < this.#run || (run === this.#run && n <= this.#n)) return;
    if (run > this.#run) this.#beginLines();
    this.#run = run;
    this.#n = n;
    this.#c = c;
    this.#log.append(event, sequenceOf(run, n));
    this.#note(logLineOf(event));
    this.#changed();
  }

  /** Readers have read what is there: lines are added at the end only. */
  #beginLines(): void {
    if (this.#logs.at(-1)?.message !== "queued") this.#logs.push(logLineNow("queued"));
    this.#linesOfRun = this.#logs.length - 1;
  }

  /** Each line of a run once: its node may tell it twice, as an event and when it is asked. */
  #note(line: LogLine | undefined): void {
    if (line === undefined) return;
    const ofRun = this.#logs.slice(this.#linesOfRun);
    if (!ofRun.some(({ message }) => message === line.message)) this.#logs.push(line);
  }

  /** One question at a time; what happens meanwhile is in the answer, or asked for again. */
  #ask(): Promise<void> {
    this.#asking ??= this.#askOnce().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #askOnce(): Promise<void> {
    const { bus, layout, id } = this.#options;
    const holder = this.#state?.holder ?? null;
    const backlog =
      holder === null ? undefined : await askFeed(bus, layout, holder, { id, run: this.#run, after: this.#n });
    if (backlog === undefined || this.#closed.signal.aborted) return;
    for (const { n, c, event } of backlog.entries) this.#append({ run: backlog.run, n, c }, event);
    for (const line of backlog.logs) this.#note(line);
    this.#changed();
  }

  #recordChanged(): void {
    const state = this.#state;
    if (state === undefined || state.kind === "ended") void this.#readEnd();
    else if (state.kind === "queued") this.#placeChanged();
    this.#changed();
  }

  /** Nothing was heard for a while. */
  #look(): void {
    const state = this.#state;
    if (state?.kind === "running") void this.#ask();
    else if (state?.kind !== "queued") void this.#readEnd();
  }

  /** A leader that is behind may not know the end yet: it is asked again when nothing is heard. */
  async #readEnd(): Promise<void> {
    const { store, id, log } = this.#options;
    if (this.#isReadingEnd || this.#ended !== undefined) return;
    this.#isReadingEnd = true;
    try {
      this.#ended = await store.ended(id);
      if (this.#ended === undefined) return;
      this.#log.append(OVER, Number.MAX_SAFE_INTEGER);
      this.#changed();
    } catch (error) {
      log.warn({ requestId: id, err: error }, "the end of a request could not be read");
    } finally {
      this.#isReadingEnd = false;
    }
  }

  async #followPlace(): Promise<void> {
    const { signal } = this.#closed;
    while (!signal.aborted && this.#ended === undefined) {
      await this.#options.map.changed(signal);
      this.#placeChanged();
      await pause(PLACE_PAUSE_MS, signal);
    }
  }

  #placeChanged(): void {
    const { map, id } = this.#options;
    const state = this.#state;
    if (state?.kind !== "queued" || state.revision < this.#run) return;
    const position = map.position(id);
    if (state.revision === this.#run && position === this.#place) return;
    this.#place = position;
    // Every gateway counts for itself how often the place changed; only the newest is kept, so that nobody misses any.
    this.#places = state.revision === this.#run ? this.#places + 1 : 1;
    this.#append({ run: state.revision, n: this.#places, c: 0 }, { kind: "queued", position, estimateMs: null });
  }

  #changed(): void {
    this.#changeCount += 1;
    this.#changes.announce();
  }
}
