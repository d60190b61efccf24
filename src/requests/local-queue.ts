/**
 * Requests that outlive their connection: written to disk before the response, run like all other jobs, kept with their result until
 * they expire. Only the owner of a request can ask for it.
 */
import { drawSeed } from "../jobs/submission.ts";
import { LatentcastError } from "../errors.ts";
import type { InputReader } from "../images/source.ts";
import type { ParsedInput } from "../schema/input.ts";
import type { RequestStore, StoredRequest } from "../storage/request-store.ts";
import type { LiveRequest } from "./live-request.ts";
import { failure } from "./made-end.ts";
import { finalEvent, FINAL_EVENT_ID, ProcessEventIds } from "./request-events.ts";
import { RequestEvents, RequestPutOff, type RequestEvent } from "./request-events.ts";
import type { AcceptOptions, RequestQueue } from "./request-queue.ts";
import type { RequestResponse } from "./response.ts";
import { RequestRunner, type RequestRunnerOptions } from "./runner.ts";
import { mayAsk, storedStatus, toRequest } from "./submission.ts";
import type { Cancellation, RequestRef, RequestStatus, RequestSubmission } from "./submission.ts";

export class LocalQueue implements RequestQueue {
  readonly #store: RequestStore;
  readonly #runner: RequestRunner;
  readonly #inputReader: InputReader;
  readonly #dialect: RequestRunnerOptions["dialect"];
  readonly #ids = new ProcessEventIds();
  readonly #events = new WeakMap<LiveRequest, RequestEvents>();

  constructor(options: RequestRunnerOptions) {
    this.#store = options.store;
    this.#inputReader = options.inputReader;
    this.#dialect = options.dialect;
    this.#runner = new RequestRunner(options);
  }

  /** Runs what earlier servers left unfinished; requests that another server holds are left alone. */
  async recover(): Promise<void> {
    for await (const { request, attempts, isHeld } of this.#store.unfinished()) {
      if (!isHeld) await this.#runner.resume(request, attempts);
    }
  }

  async refuse(submission: RequestSubmission, error: LatentcastError): Promise<void> {
    await this.#store.accept(toRequest(submission, null, []), failure(error));
  }

  async accept(
    submission: RequestSubmission,
    input: ParsedInput,
    { warnings = [], maxWaiting }: AcceptOptions = {},
  ): Promise<number> {
    // The images are kept beside the row, whatever their addresses were.
    const { image_url: _image, mask_url: _mask, ...plain } = input;
    const request = toRequest(submission, drawSeed(plain), warnings);
    using admission = this.#runner.admit(request, maxWaiting);
    const opened = await this.#inputReader.open(input);
    try {
      await this.#store.accept(request, undefined, opened?.files);
    } catch (error) {
      opened?.inputs.release();
      throw error;
    }
    return this.#runner.begin(request, { admission, inputs: opened?.inputs })?.job.position ?? 0;
  }

  async status(ref: RequestRef): Promise<RequestStatus | undefined> {
    const live = this.#heldFor(ref);
    if (live === undefined) {
      const stored = await this.#storedFor(ref);
      return stored === undefined ? undefined : storedStatus(stored);
    }
    const { request, state, job, logs } = live;
    const { app } = request;
    if (state.kind === "ended") return { kind: "ended", app, result: state.result };
    const hasStarted = job.state.kind === "running" || (job.ended !== undefined && job.startedAtMs !== undefined);
    return hasStarted ? { kind: "running", app, logs } : { kind: "queued", app, position: job.position };
  }

  async response(ref: RequestRef): Promise<RequestResponse | undefined> {
    const live = this.#heldFor(ref);
    const ended =
      live === undefined
        ? await this.#store.ended(ref.id)
        : live.state.kind === "ended"
          ? { ...live.state, request: live.request }
          : undefined;
    return ended !== undefined && mayAsk(ended.request, ref) ? this.#runner.responseTo(ended) : undefined;
  }

  async cancel(ref: RequestRef): Promise<Cancellation> {
    const live = this.#heldFor(ref);
    if (live === undefined) {
      const stored = await this.#storedFor(ref);
      if (stored === undefined) return "unknown";
      const isFirst = await this.#store.cancel(ref.id, failure(new LatentcastError("cancelled")));
      return isFirst ? "removed" : "ended_before";
    }
    if (live.job.ended !== undefined) return "ended_before";
    const reply = live.job.state.kind === "running" ? "stopping" : "removed";
    await this.#runner.cancel(live);
    return reply;
  }

  async events(
    ref: RequestRef,
    lastEventId: string | undefined,
    signal: AbortSignal,
  ): Promise<AsyncIterable<RequestEvent> | null | undefined> {
    const live = this.#heldFor(ref);
    if (live !== undefined) return this.#liveEvents(live, lastEventId, signal);
    const stored = await this.#storedFor(ref);
    if (stored === undefined) return undefined;
    return stored.result !== null && lastEventId === FINAL_EVENT_ID ? null : this.#lastEvent(ref.id);
  }

  async *statuses(ref: RequestRef, signal: AbortSignal): AsyncGenerator<RequestStatus, void, undefined> {
    const live = this.#heldFor(ref);
    for await (const _ of live?.changes(signal) ?? once()) {
      const status = await this.status(ref);
      if (status === undefined) return;
      if (live?.state.kind === "put_off") throw new RequestPutOff();
      yield status;
    }
  }

  /** After every job has ended. What has no result then is run by the next server. */
  close(): Promise<void> {
    return this.#runner.close();
  }

  async *#liveEvents(
    live: LiveRequest,
    lastEventId: string | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<RequestEvent, void, undefined> {
    const made = this.#eventsOf(live);
    for await (const entry of live.job.follow({ after: this.#ids.sequenceOf(lastEventId), signal })) {
      const event = made.of(entry);
      if (event !== undefined) yield event;
    }
    // The job ends first, then its end is kept, then listeners get it.
    const settled = await live.settledBefore(signal);
    if (settled?.kind === "ended") yield finalEvent(this.#runner.responseTo({ ...settled, request: live.request }));
    else if (settled !== undefined) throw new RequestPutOff();
  }

  #eventsOf(live: LiveRequest): RequestEvents {
    const known = this.#events.get(live);
    if (known !== undefined) return known;
    const { preview } = this.#dialect(live.request.dialect);
    const made = new RequestEvents(this.#ids, (event) => preview(event, live.job));
    this.#events.set(live, made);
    return made;
  }

  #heldFor(ref: RequestRef): LiveRequest | undefined {
    const live = this.#runner.held(ref.id);
    return live !== undefined && mayAsk(live.request, ref) ? live : undefined;
  }

  async #storedFor(ref: RequestRef): Promise<StoredRequest | undefined> {
    const stored = await this.#store.find(ref.id);
    return stored !== undefined && mayAsk(stored.request, ref) ? stored : undefined;
  }

  async *#lastEvent(id: string): AsyncGenerator<RequestEvent, void, undefined> {
    const ended = await this.#store.ended(id);
    // Another process runs it, or this one ends: there is nothing to follow here.
    if (ended === undefined) throw new RequestPutOff();
    yield finalEvent(this.#runner.responseTo(ended));
  }
}

async function* once(): AsyncGenerator<void, void, undefined> {
  yield;
}
