/** What a client hands in, as the queue keeps it and as it is told about. */
import type { Priority } from "../jobs/submission.ts";
import type { ParsedInput } from "../schema/input.ts";
import type { Parsed } from "../schema/parse.ts";
import type { LogLine } from "../schema/queue.ts";
import type { AcceptedRequest, Ending, StoredRequest } from "../storage/request-store.ts";

export interface Order {
  readonly id: string;
  readonly app: string;
  readonly dialect: string;
  readonly baseUrl: string;
  readonly parsed: Parsed<ParsedInput>;
  readonly priority: Priority;
  readonly startTimeoutMs: number | undefined;
  readonly webhookUrl: string | null;
  readonly traceparent: string | null;
  /** Refuses with `queue_full` when more than this are waiting. */
  readonly maxQueueLength: number | undefined;
}

export type RequestStatus =
  | { readonly kind: "queued"; readonly app: string; readonly position: number }
  | { readonly kind: "running"; readonly app: string; readonly logs: readonly LogLine[] }
  | { readonly kind: "ended"; readonly app: string; readonly ending: Ending };

export type CancelOutcome = "removed" | "stopping" | "ended_before" | "unknown";

export function toRequest(order: Order, input: ParsedInput | null, warnings: readonly string[]): AcceptedRequest {
  const { id, app, dialect, baseUrl, priority, startTimeoutMs, webhookUrl, traceparent } = order;
  const acceptedAtMs = Date.now();
  const startByMs = startTimeoutMs === undefined ? null : acceptedAtMs + startTimeoutMs;
  return { id, app, dialect, baseUrl, input, warnings, traceparent, priority, acceptedAtMs, startByMs, webhookUrl };
}

/** Of a request that no running server holds. */
export function storedStatus(stored: StoredRequest | undefined): RequestStatus | undefined {
  if (stored === undefined) return undefined;
  const { app } = stored.request;
  return stored.ending === null ? { kind: "queued", app, position: 0 } : { kind: "ended", app, ending: stored.ending };
}
