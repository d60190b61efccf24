/** What a client submits to the queue, and what it can ask about it. */
import type { Priority, SeededInput } from "../jobs/submission.ts";
import type { LogLine } from "../schema/queue.ts";
import type { AcceptedRequest, RequestResult } from "../storage/request-record.ts";
import type { StoredRequest } from "../storage/request-store.ts";

/** Who asks for which request. */
export interface RequestRef {
  readonly id: string;
  /** A digest of the API key and the id; null when no key was asked for. */
  readonly owner: string | null;
}

export interface RequestSubmission extends RequestRef {
  readonly app: string;
  readonly dialect: string;
  readonly baseUrl: string;
  readonly priority: Priority;
  readonly startTimeoutMs: number | undefined;
  readonly webhookUrl: string | null;
  readonly traceparent: string | null;
}

export type RequestStatus =
  | {
      readonly kind: "queued";
      readonly app: string;
      readonly position: number;
      /** Why nobody can begin it now, where that is so. */
      readonly reason?: string;
    }
  | { readonly kind: "running"; readonly app: string; readonly logs: readonly LogLine[] }
  | { readonly kind: "ended"; readonly app: string; readonly result: RequestResult };

export type Cancellation = "removed" | "stopping" | "ended_before" | "unknown";

/** @param input Null for a request that is refused. */
export function toRequest(
  { startTimeoutMs, ...submission }: RequestSubmission,
  input: SeededInput | null,
  warnings: readonly string[],
): AcceptedRequest {
  const acceptedAtMs = Date.now();
  const startByMs = startTimeoutMs === undefined ? null : acceptedAtMs + startTimeoutMs;
  return { ...submission, input, warnings, acceptedAtMs, startByMs };
}

/** A request without an owner may be read by all clients of this server. */
export function mayAsk({ owner }: Pick<AcceptedRequest, "owner">, ref: RequestRef): boolean {
  return owner === null || owner === ref.owner;
}

/** Of a request that this process does not hold. */
export function storedStatus({ request: { app }, result }: StoredRequest): RequestStatus {
  return result === null ? { kind: "queued", app, position: 0 } : { kind: "ended", app, result };
}
