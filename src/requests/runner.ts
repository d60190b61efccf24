/** Runs accepted requests and stores their results. Requests that this process cannot finish are left to the next one. */
import { randomUUID } from "node:crypto";
import type { Logger } from "pino";
import { pause } from "../async/timer.ts";
import type { QueueDialect } from "../dialects/dialect.ts";
import { LatentcastError, toLatentcastError } from "../errors.ts";
import type { InputImages } from "../images/inputs.ts";
import type { InputReader } from "../images/source.ts";
import type { Admission } from "../jobs/admission.ts";
import { isTerminal, type TerminalEvent } from "../jobs/events.ts";
import type { Jobs } from "../jobs/jobs.ts";
import type { Submission } from "../jobs/submission.ts";
import type { PublishedImages } from "../storage/published-images.ts";
import type { AcceptedRequest } from "../storage/request-record.ts";
import type { Claim, EndedRequest, RequestStore } from "../storage/request-store.ts";
import { Lease, type LeaseTerms } from "./lease.ts";
import { LiveRequest } from "./live-request.ts";
import { failure, isSameEnd, makeEnd, type MadeEnd } from "./made-end.ts";
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
  /** Of the claims on requests, where the usual terms do not fit. */
  readonly terms?: LeaseTerms | undefined;
  /** An end that cannot be kept yet is shown from memory; not where other processes show ends. */
  readonly showsUnkept?: boolean | undefined;
  /** What was drawn is thrown away: another run ended the request first. */
  readonly onUncounted?: (live: LiveRequest) => void;
}

export interface BeginOptions {
  /** Absent for a request that was accepted by another process. */
  readonly admission?: Admission | undefined;
  /** The images that it starts from. */
  readonly inputs?: InputImages | undefined;
  /** Absent for a request that is claimed when it starts. */
  readonly claim?: Claim | undefined;
  /** How often it has been run before, and never to its end; what the claim says if absent. */
  readonly earlierAttempts?: number | undefined;
}

const STORE_RETRY_MS = 5_000;
/** A request that was running each time the server died is probably why it died. */
export const MAX_ATTEMPTS = 3;

/**
 * Throws `worker_crashed` for a request that was never run to its end.
 * @param attempts How often that was tried.
 */
export function refuseHopeless(attempts: number): void {
  if (attempts < MAX_ATTEMPTS) return;
  throw new LatentcastError("worker_crashed", { message: "The server ended each time it ran this request." });
}

export class RequestRunner {
  readonly #options: RequestRunnerOptions;
  readonly #live = new Map<string, LiveRequest>();
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

  /** Undefined for a request that ended at once, or that comes while the server ends. */
  begin(request: AcceptedRequest, options: BeginOptions = {}): LiveRequest | undefined {
    try {
      return this.start(request, options);
    } catch (error) {
      const failed = toLatentcastError(error);
      // A request that comes while the server ends is the next one's.
      if (failed.code !== "draining") void this.endUnrun(request.id, failed, options.claim);
      return undefined;
    }
  }

  /** Throws what keeps a request from running; its images are released then, and nothing is kept. */
  start(request: AcceptedRequest, { admission, inputs, claim, ...options }: BeginOptions = {}): LiveRequest {
    const { jobs, log } = this.#options;
    const { earlierAttempts = claim === undefined ? 0 : claim.attempt - 1 } = options;
    let live: LiveRequest;
    try {
      const plain = this.#toSubmission(request);
      // A node may begin again what it has just given up, while its worker still stops the run before: each has a name of its own.
      const id = claim === undefined ? request.id : `${request.id}.${claim.revision}`;
      // The last try runs alone: should its worker die too, no other job is lost with it.
      const deaths = earlierAttempts === MAX_ATTEMPTS - 1 ? 1 : 0;
      const submission = { ...plain, id, inputs, deaths };
      live = new LiveRequest(request, jobs.submit(submission, admission ?? jobs.admit(submission, { isKnown: true })));
    } catch (error) {
      inputs?.release();
      throw error;
    }
    if (claim !== undefined) live.lease = this.#lease(live, claim);
    this.#live.set(request.id, live);
    live.log("queued");
    this.#run(live).catch((error: unknown) => {
      log.error({ requestId: request.id, err: error }, "a request was lost");
    });
    return live;
  }

  /**
   * Begins a request that another process accepted, with the images that the store kept for it.
   * @param attempts How often it has been run, and never to its end.
   */
  async resume(request: AcceptedRequest, attempts: number): Promise<void> {
    try {
      refuseHopeless(attempts);
      this.begin(request, { inputs: await this.reopen(request), earlierAttempts: attempts });
    } catch (error) {
      void this.endUnrun(request.id, toLatentcastError(error));
    }
  }

  /** The images that the store kept for a request, ready to be drawn from. */
  async reopen({ id, input, inputFiles }: AcceptedRequest): Promise<InputImages | undefined> {
    const { store, inputReader } = this.#options;
    const files = inputFiles === undefined ? undefined : await store.inputFiles(id);
    return files === undefined ? undefined : inputReader.reopen(files, input ?? {});
  }

  /** Ends a request that has no job. Resolves like a write of the end; undefined when the server ended before it was kept. */
  endUnrun(id: string, error: LatentcastError, claim?: Claim): Promise<boolean | undefined> {
    const { store } = this.#options;
    const ended = failure(error);
    return this.#keep(id, () => (claim === undefined ? store.cancel(id, ended) : store.end(claim, ended)));
  }

  /** Resolves when the end is kept. */
  async cancel(live: LiveRequest): Promise<void> {
    this.#options.jobs.cancel(live.job, "cancelled_by_client");
    await live.settled;
  }

  /** Throws for a request whose dialect this version does not know. */
  responseTo(ended: EndedRequest): RequestResponse {
    return toResponse(ended, this.#options.dialect(ended.request.dialect));
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

  #lease({ request: { id }, job }: LiveRequest, claim?: Claim): Lease {
    const { store, log, jobs, terms } = this.#options;
    const onLost = (): void => void jobs.cancel(job, "shutdown");
    return new Lease({ store, id, owner: this.#owner, log, onLost, claim, terms });
  }

  async #finish(live: LiveRequest, event: TerminalEvent): Promise<void> {
    if (event.kind === "cancelled" && event.reason === "shutdown") return this.#putOff(live);
    const made = await this.#make(live, event);
    if (made === undefined) live.settle(undefined);
    else await this.#end(live, made);
  }

  /** Undefined when it could not be made until the server ended. */
  async #make(live: LiveRequest, event: TerminalEvent): Promise<MadeEnd | undefined> {
    const { closing, log } = this.#options;
    while (true) {
      try {
        return await makeEnd(live, event, this.#options);
      } catch (error) {
        log.error({ requestId: live.request.id, err: error }, "the images of a request could not be kept");
      }
      if (closing.aborted) return undefined;
      await pause(STORE_RETRY_MS, closing);
    }
  }

  /** Stores the end, then announces it. */
  async #end(live: LiveRequest, made: MadeEnd): Promise<void> {
    const { store, showsUnkept = true } = this.#options;
    const { id } = live.request;
    const { ended } = made;
    const isFirst = await this.#keep(
      id,
      () => live.lease?.end(ended) ?? store.cancel(id, ended),
      showsUnkept ? () => live.end(ended) : undefined,
    );
    if (isFirst === undefined) live.settle(undefined);
    else if (isFirst) live.end(ended);
    else live.settle(await this.#endedByOthers(live, made));
    this.#live.delete(id);
  }

  /** Undefined when somebody else runs the request. */
  async #endedByOthers(live: LiveRequest, { ended, images }: MadeEnd): Promise<EndedRequest | undefined> {
    const { store, onUncounted } = this.#options;
    const counted = await store.ended(live.request.id);
    // A write whose answer was lost is repeated, and then comes too late for its own first try. In doubt the images stay until they expire.
    if (counted !== undefined && isSameEnd(counted, ended)) return counted;
    // Not so when it was cancelled meanwhile.
    const isDrawnTwice = ended.result.error === null && (counted?.result.error ?? null) === null;
    if (isDrawnTwice) onUncounted?.(live);
    if (counted !== undefined) await this.#options.images.discard(images);
    return counted;
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
