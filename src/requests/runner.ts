/** Runs accepted requests and stores their results. Requests that this process cannot finish are left to the next one. */
import { randomUUID } from "node:crypto";
import type { Logger } from "pino";
import { pause } from "../async/timer.ts";
import type { QueueDialect } from "../dialects/dialect.ts";
import { LatentcastError, toLatentcastError } from "../errors.ts";
import type { InputImages } from "../images/inputs.ts";
import type { InputReader } from "../images/source.ts";
import type { Admission } from "../jobs/admission.ts";
import { terminalError, isTerminal, type JobResult, type TerminalEvent } from "../jobs/events.ts";
import type { Jobs } from "../jobs/jobs.ts";
import type { Submission } from "../jobs/submission.ts";
import { toAsciiJsonBytes } from "../schema/json.ts";
import type { LogLine } from "../schema/queue.ts";
import type { PublishedImages } from "../storage/published-images.ts";
import type { AcceptedRequest } from "../storage/request-record.ts";
import type { Ended, EndedRequest, RequestStore } from "../storage/request-store.ts";
import { Lease } from "./lease.ts";
import { LiveRequest } from "./live-request.ts";
import { EventIds, finalEvent, RequestEvents, RequestPutOff, type RequestEvent } from "./request-events.ts";
import { toResponse, type RequestResponse } from "./response.ts";

export interface RequestRunnerOptions {
  readonly jobs: Pick<Jobs, "admit" | "submit" | "cancel">;
  readonly store: RequestStore;
  readonly images: PublishedImages;
  /** What requests may start from. */
  readonly inputReader: InputReader;
  /** Throws for a name that no dialect has. */
  readonly dialect: (name: string) => QueueDialect;
  readonly log: Logger;
  /** Fires when the server ends: what cannot be kept then is left to the next one. */
  readonly closing: AbortSignal;
}

const STORE_RETRY_MS = 5_000;

export class RequestRunner {
  readonly #options: RequestRunnerOptions;
  readonly #live = new Map<string, LiveRequest>();
  readonly #ids = new EventIds();
  /** Names this process in claims. */
  readonly #owner = randomUUID();

  constructor(options: RequestRunnerOptions) {
    this.#options = options;
  }

  held(id: string): LiveRequest | undefined {
    return this.#live.get(id);
  }

  /** Throws what refuses a request, before anything is kept. */
  admit(request: AcceptedRequest, maxWaiting: number | undefined): Admission {
    return this.#options.jobs.admit(this.#toSubmission(request), { maxWaiting });
  }

  /**
   * Undefined for a request that ended at once, or that comes while the server ends.
   * @param admission Absent for a request that was accepted by an earlier process.
   * @param inputs The images that it starts from.
   */
  begin(request: AcceptedRequest, admission?: Admission, inputs?: InputImages): LiveRequest | undefined {
    const { jobs, dialect, log } = this.#options;
    let live: LiveRequest;
    try {
      const submission = { ...this.#toSubmission(request), inputs };
      const job = jobs.submit(submission, admission ?? jobs.admit(submission, { isKnown: true }));
      const { preview } = dialect(request.dialect);
      live = new LiveRequest(request, job, new RequestEvents(this.#ids, (event) => preview(event, job)));
    } catch (error) {
      inputs?.release();
      const failure = toLatentcastError(error);
      // A request that comes while the server ends is the next one's.
      if (failure.code !== "draining") this.endUnrun(request.id, failure);
      return undefined;
    }
    this.#live.set(request.id, live);
    live.log("queued");
    this.#run(live).catch((error: unknown) => {
      log.error({ requestId: request.id, err: error }, "a request was lost");
    });
    return live;
  }

  /** Begins a request that an earlier process accepted, with the images that the store kept for it. */
  async resume(request: AcceptedRequest): Promise<void> {
    let inputs: InputImages | undefined;
    try {
      const files = request.inputFiles === undefined ? undefined : await this.#options.store.inputFiles(request.id);
      if (files !== undefined) inputs = await this.#options.inputReader.reopen(files, request.input ?? {});
    } catch (error) {
      this.endUnrun(request.id, toLatentcastError(error));
      return;
    }
    this.begin(request, undefined, inputs);
  }

  /** Ends a request that has no job. */
  endUnrun(id: string, error: LatentcastError): void {
    void this.#keep(id, () => this.#options.store.cancel(id, this.failure(error)));
  }

  /** Resolves when the end is kept. */
  async cancel(live: LiveRequest): Promise<void> {
    this.#options.jobs.cancel(live.job, "cancelled_by_client");
    await live.settled;
  }

  /** Ends after the last event, or when `signal` fires. Throws {@link RequestPutOff} when there will be no last one. */
  async *events(
    live: LiveRequest,
    lastEventId: string | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<RequestEvent, void, undefined> {
    for await (const entry of live.job.follow({ after: this.#ids.sequenceOf(lastEventId), signal })) {
      const event = live.events.of(entry);
      if (event !== undefined) yield event;
    }
    // The job ends first, then its end is kept, then listeners get it.
    const settled = await live.settledBefore(signal);
    if (settled?.kind === "ended") yield finalEvent(this.responseTo({ ...settled, request: live.request }));
    else if (settled !== undefined) throw new RequestPutOff();
  }

  /** Throws for a request whose dialect this version does not know. */
  responseTo(ended: EndedRequest): RequestResponse {
    return toResponse(ended, this.#options.dialect(ended.request.dialect));
  }

  failure({ code, message, fields }: LatentcastError, logs: readonly LogLine[] = []): Ended {
    const error = { code, message, fields: [...fields] };
    return { result: { endedAtMs: Date.now(), error, inferenceMs: null, logs }, body: Buffer.alloc(0) };
  }

  /** After every job has ended: waits until each end is kept. */
  async close(): Promise<void> {
    await Promise.all([...this.#live.values()].map(({ settled }) => settled));
  }

  #toSubmission({ id, input, startByMs, priority, warnings, traceparent, dialect }: AcceptedRequest): Submission {
    if (input === null) throw new LatentcastError("internal_error", { cause: "a refused request without its end" });
    return {
      id,
      input,
      keep: true,
      priority,
      warnings,
      traceparent,
      fit: this.#options.dialect(dialect).fit,
      ...(startByMs === null ? {} : { startTimeoutMs: Math.max(0, startByMs - Date.now()) }),
    };
  }

  async #run(live: LiveRequest): Promise<void> {
    for await (const entry of live.job.follow()) {
      if (entry.event.kind === "started") live.lease ??= this.#lease(live);
      live.note(entry);
      if (isTerminal(entry.event)) await this.#finish(live, entry.event);
    }
  }

  #lease({ request: { id }, job }: LiveRequest): Lease {
    const { store, log, jobs } = this.#options;
    return new Lease({ store, id, owner: this.#owner, log, onLost: () => void jobs.cancel(job, "shutdown") });
  }

  async #finish(live: LiveRequest, event: TerminalEvent): Promise<void> {
    if (event.kind === "cancelled" && event.reason === "shutdown") return this.#putOff(live);
    const ended =
      event.kind === "succeeded" ? await this.#success(live, event.result) : this.#failed(live, terminalError(event));
    await this.#end(live, ended);
  }

  async #success(live: LiveRequest, result: JobResult): Promise<Ended> {
    const { dialect, baseUrl, input } = live.request;
    try {
      const images = await this.#options.images.publish(result.images, {
        isInline: input?.sync_mode !== false,
        baseUrl,
      });
      const body = toAsciiJsonBytes(this.#options.dialect(dialect).result(result, live.job, images));
      live.log("finished");
      const { inferenceMs } = result.timings;
      return {
        result: { endedAtMs: Date.now(), error: null, inferenceMs, logs: live.logs },
        body,
      };
    } catch (error) {
      return this.#failed(live, toLatentcastError(error));
    }
  }

  #failed(live: LiveRequest, error: LatentcastError): Ended {
    live.log(error.message, "ERROR");
    return this.failure(error, live.logs);
  }

  /** Stores the end, then announces it. With a full disk it is served from memory until it can be stored. */
  async #end(live: LiveRequest, ended: Ended): Promise<void> {
    const { id } = live.request;
    const { store } = this.#options;
    const isFirst = await this.#keep(
      id,
      () => live.lease?.end(ended) ?? store.cancel(id, ended),
      () => live.end(ended),
    );
    if (isFirst === undefined) return;
    if (isFirst) live.end(ended);
    // Somebody else ended the request, or runs it.
    else live.settle(await store.ended(id));
    this.#live.delete(id);
  }

  /** Resolves with what `write` said; undefined when it failed until the server ended. */
  async #keep(id: string, write: () => Promise<boolean>, onFailure?: () => void): Promise<boolean | undefined> {
    const { closing } = this.#options;
    while (true) {
      try {
        return await write();
      } catch (error) {
        this.#options.log.error({ requestId: id, err: error }, "the result of a request could not be stored");
      }
      onFailure?.();
      if (closing.aborted) return undefined;
      await pause(STORE_RETRY_MS, closing);
    }
  }

  async #putOff(live: LiveRequest): Promise<void> {
    const { id } = live.request;
    await live.lease?.release().catch((error: unknown) => {
      this.#options.log.warn({ requestId: id, err: error }, "the claim on a request could not be released");
    });
    live.settle(undefined);
    this.#live.delete(id);
  }
}
