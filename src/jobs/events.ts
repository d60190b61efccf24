/** The events of a job. */
import { LatentcastError } from "../errors.ts";

/** A finished or half-finished image in its encoded form. */
export interface EncodedImage {
  readonly bytes: Buffer;
  readonly contentType: string;
  readonly width: number;
  readonly height: number;
  readonly seed: number;
}

export interface JobResult {
  readonly images: readonly EncodedImage[];
  readonly seed: number;
  readonly prompt: string;
  readonly timings: {
    /** Acceptance to the first step. */
    readonly queueMs: number;
    /** First step to the encoded image. */
    readonly inferenceMs: number;
    /** Acceptance to the first preview. */
    readonly firstPreviewMs: number | null;
  };
  readonly warnings: readonly string[];
}

/** With `shutdown` a job that is kept is left for the next server. */
export type CancelReason = "client_gone" | "cancelled_by_client" | "shutdown";

export interface QueuedEvent {
  readonly kind: "queued";
  /** Jobs that will begin to be drawn before this one. */
  readonly position: number;
  readonly estimateMs: number | null;
}

export interface JobPreview {
  readonly kind: "preview";
  /** Counts from 0. */
  readonly step: number;
  readonly totalSteps: number;
  readonly images: readonly EncodedImage[];
}

export type TerminalEvent =
  | { readonly kind: "succeeded"; readonly result: JobResult }
  | { readonly kind: "failed"; readonly error: LatentcastError }
  | { readonly kind: "cancelled"; readonly reason: CancelReason };

export type JobEvent =
  | QueuedEvent
  | { readonly kind: "started"; readonly totalSteps: number }
  | { readonly kind: "progress"; readonly step: number; readonly totalSteps: number }
  | JobPreview
  | TerminalEvent;

export function isTerminal(event: { readonly kind: string }): event is TerminalEvent {
  return event.kind === "succeeded" || event.kind === "failed" || event.kind === "cancelled";
}

/** The error that a job which did not succeed ends with. */
export function terminalError(event: Exclude<TerminalEvent, { kind: "succeeded" }>): LatentcastError {
  if (event.kind === "failed") return event.error;
  return new LatentcastError(event.reason === "shutdown" ? "draining" : "cancelled");
}
