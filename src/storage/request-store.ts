/**
 * What the queue keeps. One implementation lies on this machine's disk; several machines would share one behind the same calls:
 * requests are a work queue, their endings the last event of each, pictures and uploads objects.
 */
import type { Readable } from "node:stream";
import type { ErrorCode } from "../errors.ts";
import type { Priority } from "../jobs/submission.ts";
import type { ParsedInput } from "../schema/input.ts";
import type { LogLine } from "../schema/queue.ts";

/** A request as it was accepted. Everything that is needed to run it again, seed included. */
export interface AcceptedRequest {
  readonly id: string;
  /** `owner/alias`, as the client named the model. */
  readonly app: string;
  /** Which shape its input had and its result will have. */
  readonly dialect: string;
  /** How the client reaches this server; URLs in the result start with it. */
  readonly baseUrl: string;
  /** Null when it was refused: such a request is accepted together with its ending. */
  readonly input: ParsedInput | null;
  readonly warnings: readonly string[];
  readonly traceparent: string | null;
  readonly priority: Priority;
  /** Milliseconds since 1970, here and below. */
  readonly acceptedAtMs: number;
  /** Fails unless it has started by then. */
  readonly startByMs: number | null;
  readonly webhookUrl: string | null;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** One line of JSON in ASCII. */
  readonly body: Buffer;
}

export interface Ending {
  readonly endedAtMs: number;
  readonly error: { readonly code: ErrorCode; readonly message: string } | null;
  readonly inferenceMs: number | null;
  readonly logs: readonly LogLine[];
}

export interface StoredRequest {
  readonly request: AcceptedRequest;
  /** How often it has been started. */
  readonly attempts: number;
  readonly ending: Ending | null;
}

export interface PendingWebhook {
  readonly id: string;
  readonly url: string;
  readonly attempts: number;
  readonly dueAtMs: number;
}

/** What anybody who knows the key may read, or only this server. */
export type ObjectKind = "file" | "answer";

export interface NewObject {
  readonly key: string;
  readonly kind: ObjectKind;
  readonly contentType: string;
  readonly expiresAtMs: number;
}

export interface StoredObject extends NewObject {
  readonly sizeBytes: number;
  readonly createdAtMs: number;
}

/** Every promise that resolves tells of something that survives the death of this process and of the machine. */
export interface QueueStore {
  /** Rejects with `storage_full`, and keeps nothing, when there is no room. */
  accept(request: AcceptedRequest, ended?: { readonly ending: Ending; readonly answer: Answer }): Promise<void>;
  /** The request begins to run. */
  noteAttempt(id: string): Promise<void>;
  end(id: string, ending: Ending, answer: Answer): Promise<void>;
  find(id: string): StoredRequest | undefined;
  answer(id: string): Promise<Answer | undefined>;
  /** Oldest first. */
  unfinished(): Promise<StoredRequest[]>;

  pendingWebhooks(): Promise<PendingWebhook[]>;
  /** @param dueAtMs When to try again; null when there is nothing left to do. */
  noteDelivery(id: string, attempts: number, dueAtMs: number | null): Promise<void>;

  /** Rejects with `storage_full` when there is no room, `payload_too_large` when the stream brings more than `limitBytes`. */
  putObject(object: NewObject, content: Buffer | Readable, limitBytes?: number): Promise<void>;
  findObject(key: string): StoredObject | undefined;
  openObject(key: string): Readable;

  /** Forgets what has expired by now. */
  expire(nowMs: number): Promise<void>;
  close(): Promise<void>;
}
