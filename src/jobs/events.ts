/** What happens to a job, as its listeners hear it. */
import type { LatentcastError } from "../errors.ts";

/** A finished or half-finished picture in its encoded form. */
export interface Picture {
  readonly bytes: Buffer;
  readonly contentType: string;
  readonly width: number;
  readonly height: number;
  readonly seed: number;
}

export interface JobResult {
  readonly pictures: readonly Picture[];
  readonly seed: number;
  readonly prompt: string;
  readonly timings: {
    /** Acceptance to the first step. */
    readonly queueMs: number;
    /** First step to the encoded picture. */
    readonly inferenceMs: number;
    /** Acceptance to the first preview. */
    readonly firstPreviewMs: number | null;
  };
  readonly warnings: readonly string[];
}

export type CancelReason = "client_gone" | "cancelled_by_client" | "start_timeout" | "shutdown";

export interface QueuedEvent {
  readonly kind: "queued";
  /** Jobs ahead of this one. */
  readonly position: number;
  readonly estimateMs: number | null;
}

export interface PreviewEvent {
  readonly kind: "preview";
  /** Counts from 0. */
  readonly step: number;
  readonly totalSteps: number;
  readonly pictures: readonly Picture[];
}

export type TerminalEvent =
  | { readonly kind: "succeeded"; readonly result: JobResult }
  | { readonly kind: "failed"; readonly error: LatentcastError }
  | { readonly kind: "cancelled"; readonly reason: CancelReason };

export type JobEvent =
  | QueuedEvent
  | { readonly kind: "started" }
  | { readonly kind: "progress"; readonly step: number; readonly totalSteps: number }
  | PreviewEvent
  | TerminalEvent;

export function isTerminal(event: JobEvent): event is TerminalEvent {
  return event.kind === "succeeded" || event.kind === "failed" || event.kind === "cancelled";
}
