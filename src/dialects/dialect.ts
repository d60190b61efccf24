/**
 * A way of asking for images and of telling about them. One engine, several dialects: whatever differs between them is here, so that a
 * new one is a folder beside the others and a line in the registry. Nothing in it knows the transport.
 */
import type { LatentcastError } from "../errors.ts";
import type { JobResult, PreviewEvent } from "../jobs/events.ts";
import type { Job } from "../jobs/job.ts";
import type { Fitted } from "../jobs/submission.ts";
import type { Operation } from "../openapi/operation.ts";
import type { ModelInfo } from "../protocol/messages.ts";
import type { ParsedInput } from "../schema/input.ts";
import type { Parsed } from "../schema/parse.ts";
import type { ServedImage } from "../storage/published-images.ts";

/** The result when it is finished, or events as it forms. */
export type Delivery = "result" | "events";

export interface DialectRequest {
  readonly path: string;
  readonly body: unknown;
}

/** A path that takes a `POST` and makes images. */
export interface DialectRoute {
  /** With `:name` for one part and `*` for the rest; more exact paths win over others, of whichever dialect. */
  readonly path: string;
  /** Some APIs say it in the path, others in the body. */
  readonly delivery: (request: DialectRequest) => Delivery;
  /** Absent for other names of a path that is documented. */
  readonly operation?: Operation;
}

export interface ErrorResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: object;
}

/** What a stream carries. */
export type StreamEvent =
  | { readonly kind: "preview"; readonly body: object }
  | { readonly kind: "result"; readonly body: object }
  /** The last event of a stream that breaks off after it. */
  | { readonly kind: "error"; readonly error: LatentcastError };

export interface Dialect {
  /** What stored requests call it. */
  readonly name: string;
  readonly routes: readonly DialectRoute[];
  /**
   * Paths that begin with one of these are its own: it answers there whatever refuses, a limit or a missing path too. Models are meant as
   * well: over the queue `owner/alias` is asked for in the dialect of `/owner/alias`.
   */
  readonly prefixes: readonly string[];
  /** Checked as `generateInput` checks. A dialect may take other sizes, which `fit` then brings into the model's limits. */
  parse(body: unknown): Parsed<ParsedInput>;
  /** What the loaded model makes of it. */
  fit(input: ParsedInput, model: ModelInfo): Fitted;
  /** Ready to be turned into JSON; bytes as `Base64`. */
  preview(event: PreviewEvent, job: Job): object;
  /** @param images The finished images where the client will find them: inside the answer, or as files. */
  result(result: JobResult, job: Job, images: readonly ServedImage[]): object;
  error(error: LatentcastError): ErrorResponse;
  /** The event as Server-Sent Events; several, where the dialect has several for it. */
  frame(event: StreamEvent): string | Buffer;
}
