/**
 * The port to whatever keeps requests. The implementation here is a file of this machine; a store that several machines share must fit
 * behind the same calls, so every decision is a write that one caller wins, never a read followed by a write.
 * Every implementation has to pass test/contract/request-store.ts.
 */
import type { InputFiles } from "../images/source.ts";
import type { AcceptedRequest, RequestResult } from "./request-record.ts";

/** There is something under this id or key already. */
export class Conflict extends Error {
  override readonly name = "Conflict";
}

/** How a request ended. */
export interface Ended {
  readonly result: RequestResult;
  /** What its dialect made of the images, one line of JSON in ASCII. Empty for an error, which is shaped when it is asked for. */
  readonly body: Buffer;
}

export interface EndedRequest extends Ended {
  readonly request: AcceptedRequest;
}

export interface StoredRequest {
  readonly request: AcceptedRequest;
  /** How often it has been claimed, without claims that were released. */
  readonly attempts: number;
  /** A process runs it: it has a claim whose lease has not run out. */
  readonly isHeld: boolean;
  /** Who claimed it last and has neither released nor ended it; its lease may have run out. */
  readonly holder: string | null;
  /** Null until it has ended. */
  readonly result: RequestResult | null;
}

/** The right to run a request. It is spent by the next claim, renewal or release of the same request. */
export interface Claim {
  readonly id: string;
  readonly owner: string;
  /** Counts from 1. */
  readonly attempt: number;
  /** The store's own count of changes. */
  readonly revision: number;
}

export interface DueWebhook {
  readonly id: string;
  readonly url: string;
  /** Deliveries that failed. */
  readonly attempts: number;
}

/** What a promise that resolves has written survives the death of this process and of the machine. */
export interface RequestStore {
  /**
   * @param ended For a request that was refused: it is kept together with its end.
   * @param files The images that it starts from; they are kept until it has ended.
   * Rejects with {@link Conflict} when the id is taken, with `storage_full` when there is no room; nothing is kept then.
   */
  accept(request: AcceptedRequest, ended?: Ended, files?: InputFiles): Promise<void>;
  find(id: string): Promise<StoredRequest | undefined>;
  /** The images that a request starts from; undefined when it has none, or has ended. */
  inputFiles(id: string): Promise<InputFiles | undefined>;
  /** Undefined until the request has ended. */
  ended(id: string): Promise<EndedRequest | undefined>;
  /** Oldest first; those that others hold as well. */
  unfinished(): AsyncIterable<StoredRequest>;

  /**
   * Counts an attempt. One caller wins; the others get the reason.
   * @param from A holder that is known to be dead: its claim does not count, though its lease has not run out.
   */
  claim(id: string, owner: string, leaseMs: number, from?: string): Promise<Claim | "held" | "ended" | "unknown">;
  renew(claim: Claim, leaseMs: number): Promise<Claim | "lost">;
  /** Gives a request back that was not run to its end. The attempt does not count. Nothing happens when the claim is spent. */
  release(claim: Claim): Promise<void>;
  /** True when this is how the request ended, false when the claim is spent or it had ended before. Rejects with `storage_full`. */
  end(claim: Claim, ended: Ended): Promise<boolean>;
  /** Ends a request without a claim. True when this is how it ended. Rejects with `storage_full`. */
  cancel(id: string, ended: Ended): Promise<boolean>;

  /** Waits for the next webhook that is due and not being delivered; undefined when `signal` fires. */
  nextWebhook(signal: AbortSignal): Promise<DueWebhook | undefined>;
  /** @param retryInMs When it is due again; null when there is nothing left to do. */
  settleWebhook(webhook: DueWebhook, retryInMs: number | null): Promise<void>;

  /** Forgets requests that ended long enough ago and whose webhooks are settled. */
  expire(): Promise<void>;
}
