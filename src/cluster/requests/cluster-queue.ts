/**
 * The queue of a gateway: requests are accepted into the state store, and drawn by whichever node takes their ticket. This process keeps
 * nothing: every gateway shows, follows and cancels all requests.
 */
import type { Logger } from "pino";
import type { QueueDialect } from "../../dialects/dialect.ts";
import { LatentcastError } from "../../errors.ts";
import type { InputReader } from "../../images/source.ts";
import type { Jobs } from "../../jobs/jobs.ts";
import { drawSeed } from "../../jobs/submission.ts";
import { failure } from "../../requests/made-end.ts";
import { finalEvent, FINAL_EVENT_ID, RequestEvents, RequestPutOff } from "../../requests/request-events.ts";
import type { RequestEvent } from "../../requests/request-events.ts";
import type { AcceptOptions, RequestQueue, StatusOptions } from "../../requests/request-queue.ts";
import { toResponse, type RequestResponse } from "../../requests/response.ts";
import { mayAsk, toRequest } from "../../requests/submission.ts";
import type { Cancellation, RequestRef, RequestStatus, RequestSubmission } from "../../requests/submission.ts";
import type { LogLine } from "../../schema/queue.ts";
import type { ParsedInput } from "../../schema/input.ts";
import type { AcceptedRequest } from "../../storage/request-record.ts";
import type { EndedRequest, StoredRequest } from "../../storage/request-store.ts";
import type { Bus } from "../bus.ts";
import { askFeed } from "./feed-question.ts";
import type { FirstTickets } from "./first-tickets.ts";
import { fleetEventIds } from "./fleet-event-ids.ts";
import type { FleetRequestStore } from "../storage/fleet-requests.ts";
import type { Layout } from "../layout.ts";
import type { RequestFeed } from "./request-feed.ts";
import { RequestFeeds } from "./request-feeds.ts";
import type { RequestMap } from "./request-map.ts";
import { WIRE_VERSION } from "../wire.ts";

/** Where requests are drawn. */
export interface QueuePools {
  /** Whose nodes draw what asks for the model of `input`. Throws `invalid_request` for a name that is not there. */
  poolFor(input: ParsedInput): string;
  /** Why nobody draws for a pool; undefined while somebody does. */
  problemOf(pool: string): string | undefined;
}

export interface ClusterQueueOptions {
  readonly bus: Bus;
  readonly layout: Layout;
  readonly store: FleetRequestStore;
  readonly map: RequestMap;
  readonly tickets: FirstTickets;
  readonly jobs: Pick<Jobs, "admit">;
  readonly pools: QueuePools;
  /** Of requests whose record names none. */
  readonly ownPool: string;
  /** What requests may start from. */
  readonly inputReader: InputReader;
  /** Throws for a name that no dialect has. */
  readonly dialect: (name: string) => QueueDialect;
  readonly log: Logger;
}

type PlacedRequest = AcceptedRequest & { readonly pool: string };

export class ClusterQueue implements RequestQueue {
  readonly #options: ClusterQueueOptions;
  readonly #feeds: RequestFeeds;
  /** One list of events per feed, made for all its listeners. */
  readonly #events = new WeakMap<RequestFeed, RequestEvents>();

  constructor(options: ClusterQueueOptions) {
    this.#options = options;
    this.#feeds = new RequestFeeds(options);
  }

  async refuse(submission: RequestSubmission, error: LatentcastError): Promise<void> {
    await this.#options.store.accept(toRequest(submission, null, []), failure(error));
  }

  async accept(
    submission: RequestSubmission,
    input: ParsedInput,
    { warnings = [], maxWaiting }: AcceptOptions = {},
  ): Promise<number> {
    const { jobs, pools, tickets } = this.#options;
    // The images are kept beside the record, whatever their addresses were.
    const { image_url: _image, mask_url: _mask, ...plain } = input;
    const pool = pools.poolFor(plain);
    const request = { ...toRequest(submission, drawSeed(plain), warnings), pool };
    const place = jobs.admit({ input }, { maxWaiting });
    try {
      const ahead = await this.#keep(request, input);
      tickets.send(request, place);
      return ahead;
    } catch (error) {
      place.release();
      throw error;
    }
  }

  async status(ref: RequestRef, { withLogs = false }: StatusOptions = {}): Promise<RequestStatus | undefined> {
    const state = this.#options.map.get(ref.id);
    if (state === undefined || state.kind === "ended") return this.#storedStatus(ref);
    if (!mayAsk(state, ref)) return undefined;
    const { app, pool, holder } = state;
    if (state.kind === "queued") return this.#queued(app, pool, this.#options.map.position(ref.id));
    return { kind: "running", app, logs: withLogs && holder !== null ? await this.#logs(ref.id, holder) : [] };
  }

  async response(ref: RequestRef): Promise<RequestResponse | undefined> {
    const ended = await this.#options.store.ended(ref.id);
    return ended !== undefined && mayAsk(ended.request, ref) ? this.#toResponse(ended) : undefined;
  }

  async cancel(ref: RequestRef): Promise<Cancellation> {
    const { store, bus, layout, map } = this.#options;
    const stored = await this.#storedFor(ref);
    if (stored === undefined) return "unknown";
    if (stored.result !== null) return "ended_before";
    // First the record, so that it holds though no node hears of it.
    if (!(await store.cancel(ref.id, failure(new LatentcastError("cancelled"))))) return "ended_before";
    bus.publish(layout.cancel, { v: WIRE_VERSION, id: ref.id });
    return stored.holder === null && map.get(ref.id)?.kind !== "running" ? "removed" : "stopping";
  }

  async events(
    ref: RequestRef,
    lastEventId: string | undefined,
    signal: AbortSignal,
  ): Promise<AsyncIterable<RequestEvent> | null | undefined> {
    const stored = await this.#storedFor(ref);
    if (stored === undefined) return undefined;
    if (stored.result !== null) return lastEventId === FINAL_EVENT_ID ? null : this.#lastEvent(ref.id);
    return this.#feeds.reading(ref.id, (feed) => this.#read(feed, stored.request, lastEventId, signal));
  }

  async *statuses(ref: RequestRef, signal: AbortSignal): AsyncGenerator<RequestStatus, void, undefined> {
    const { store, map } = this.#options;
    const status = async (feed: RequestFeed): Promise<RequestStatus | undefined> => {
      if (feed.ended !== undefined) return endedStatus(feed.ended);
      const state = map.get(ref.id);
      if (state?.kind !== "running") return this.status(ref);
      return { kind: "running", app: state.app, logs: feed.logs };
    };
    const stored = await this.#storedFor(ref);
    if (stored === undefined) return;
    if (stored.result !== null) {
      const ended = await store.ended(ref.id);
      if (ended !== undefined) yield endedStatus(ended);
      return;
    }
    yield* this.#feeds.reading(ref.id, async function* (feed) {
      for await (const _ of feed.changes(signal)) {
        const now = await status(feed);
        if (now === undefined) return;
        yield now;
      }
    });
  }

  /** Nothing runs here. Waits for the tickets that are on their way. */
  close(): Promise<void> {
    return this.#options.tickets.settled();
  }

  /** Resolves with the number of requests ahead once it is on the disks. */
  async #keep(request: PlacedRequest, input: ParsedInput): Promise<number> {
    const { store, map, inputReader } = this.#options;
    const opened = await inputReader.open(input);
    // The node that draws it decodes them again.
    opened?.inputs.release();
    const ahead = map.expect(request);
    try {
      await store.accept(request, undefined, opened?.files);
    } catch (error) {
      map.forget(request.id);
      throw error;
    }
    return ahead;
  }

  async #storedFor(ref: RequestRef): Promise<StoredRequest | undefined> {
    const stored = await this.#options.store.find(ref.id);
    return stored !== undefined && mayAsk(stored.request, ref) ? stored : undefined;
  }

  async #storedStatus(ref: RequestRef): Promise<RequestStatus | undefined> {
    const stored = await this.#storedFor(ref);
    if (stored === undefined) return undefined;
    const { request, result, holder } = stored;
    const { map, ownPool } = this.#options;
    const { app, pool = ownPool } = request;
    if (result !== null) return { kind: "ended", app, result };
    // The watch has not seen it yet.
    if (holder === null) return this.#queued(app, pool, map.placeIn(pool, request));
    return { kind: "running", app, logs: [] };
  }

  #queued(app: string, pool: string, position: number): RequestStatus {
    const reason = this.#options.pools.problemOf(pool);
    return { kind: "queued", app, position, ...(reason === undefined ? {} : { reason }) };
  }

  async #logs(id: string, holder: string): Promise<readonly LogLine[]> {
    const { bus, layout } = this.#options;
    const backlog = await askFeed(bus, layout, holder, { id, run: 0, after: 0 });
    return backlog?.logs ?? [];
  }

  async *#read(
    feed: RequestFeed,
    request: AcceptedRequest,
    lastEventId: string | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<RequestEvent, void, undefined> {
    const made = this.#eventsOf(feed, request);
    for await (const entry of feed.follow({ after: fleetEventIds.sequenceOf(lastEventId), signal })) {
      const event = made.of(entry);
      if (event !== undefined) yield event;
    }
    if (signal.aborted) return;
    if (feed.ended === undefined) throw new RequestPutOff();
    yield finalEvent(this.#toResponse(feed.ended));
  }

  #eventsOf(feed: RequestFeed, { dialect, input }: AcceptedRequest): RequestEvents {
    const known = this.#events.get(feed);
    if (known !== undefined) return known;
    const { preview } = this.#options.dialect(dialect);
    const made = new RequestEvents(fleetEventIds, (event) => preview(event, { seed: input?.seed ?? 0 }));
    this.#events.set(feed, made);
    return made;
  }

  async *#lastEvent(id: string): AsyncGenerator<RequestEvent, void, undefined> {
    const ended = await this.#options.store.ended(id);
    if (ended === undefined) throw new RequestPutOff();
    yield finalEvent(this.#toResponse(ended));
  }

  /** Throws for a request whose dialect this version does not know. */
  #toResponse(ended: EndedRequest): RequestResponse {
    return toResponse(ended, this.#options.dialect(ended.request.dialect));
  }
}

function endedStatus({ request: { app }, result }: EndedRequest): RequestStatus {
  return { kind: "ended", app, result };
}
