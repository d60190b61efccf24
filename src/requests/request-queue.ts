/** What routes need of the queue: this process runs the requests itself, or a fleet of machines does. */
import type { LatentcastError } from "../errors.ts";
import type { ParsedInput } from "../schema/input.ts";
import type { RequestEvent } from "./request-events.ts";
import type { RequestResponse } from "./response.ts";
import type { Cancellation, RequestRef, RequestStatus, RequestSubmission } from "./submission.ts";

export interface AcceptOptions {
  readonly warnings?: readonly string[];
  /** Refuses with `queue_full` when more than this are waiting. */
  readonly maxWaiting?: number | undefined;
}

export interface StatusOptions {
  /** The log lines of a request that runs may have to be fetched; without this, they may be missing. */
  readonly withLogs?: boolean;
}

export interface RequestQueue {
  /** Keeps a request that was wrong, so that its result says why. */
  refuse(submission: RequestSubmission, error: LatentcastError): Promise<void>;
  /** Resolves with the number of requests ahead once the request is kept. Rejects when it was not accepted; nothing is kept then. */
  accept(submission: RequestSubmission, input: ParsedInput, options?: AcceptOptions): Promise<number>;
  /** Undefined when there is no such request for this caller; so it is for all that follow. */
  status(ref: RequestRef, options?: StatusOptions): Promise<RequestStatus | undefined>;
  /** Undefined also until it has ended. */
  response(ref: RequestRef): Promise<RequestResponse | undefined>;
  /** Resolves when the cancellation is kept. */
  cancel(ref: RequestRef): Promise<Cancellation>;
  /**
   * Named events; the iteration ends after the last one, or when `signal` fires, and throws `RequestPutOff` when there will be none.
   * Without `lastEventId`, or with one that means nothing here, a listener first gets the state of the request.
   * @returns Null when `lastEventId` was the last.
   */
  events(
    ref: RequestRef,
    lastEventId: string | undefined,
    signal: AbortSignal,
  ): Promise<AsyncIterable<RequestEvent> | null | undefined>;
  /** Yields the status once, then whenever something happened to the request. Throws `RequestPutOff` like `events`. */
  statuses(ref: RequestRef, signal: AbortSignal): AsyncIterable<RequestStatus>;
  /** Waits until the end of whatever this process runs is kept. */
  close(): Promise<void>;
}
