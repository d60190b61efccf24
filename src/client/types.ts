/** What the client gives: the events and results of `latentcast` in process, with images as URLs instead of bytes. */

export interface ClientImage {
  /** A data URI, or an address on the server. */
  readonly url: string;
  readonly contentType: string;
  readonly width: number;
  readonly height: number;
}

export type ClientEvent =
  | {
      readonly kind: "queued";
      /** Requests ahead of this one. */
      readonly position: number;
      /** Until the first step, by the server's estimate. */
      readonly estimateMs: number | null;
    }
  | { readonly kind: "started" }
  | {
      readonly kind: "progress";
      /** Counts from 0. */
      readonly step: number;
      readonly totalSteps: number;
    }
  | {
      readonly kind: "preview";
      readonly step: number;
      readonly totalSteps: number;
      /** The only image, or the first of several. */
      readonly image: ClientImage;
      readonly images: readonly ClientImage[];
    };

export interface ClientResult {
  readonly requestId: string;
  /** The only image, or the first of several. */
  readonly image: ClientImage;
  readonly images: readonly ClientImage[];
  /** Of the first image; each next one has the next seed. */
  readonly seed: number;
  readonly prompt: string;
  readonly timings: {
    /** Acceptance to the first step. */
    readonly queueMs: number;
    /** First step to the finished image. */
    readonly inferenceMs: number;
    /** Acceptance to the first preview. */
    readonly firstPreviewMs: number | null;
  };
  readonly warnings: readonly string[];
}

export interface ClientLogLine {
  readonly message: string;
  readonly level: string;
  readonly timestamp: string;
}

export type ClientRequestStatus =
  | { readonly kind: "queued"; readonly position: number }
  | { readonly kind: "started"; readonly logs: readonly ClientLogLine[] }
  /** Ended. `errorCode` is set when it failed. */
  | { readonly kind: "finished"; readonly logs: readonly ClientLogLine[]; readonly errorCode: string | null };

/** `cancelled`: it never ran. `requested`: it ends at the next step. `finished`: too late. */
export type ClientCancelOutcome = "cancelled" | "requested" | "finished";
