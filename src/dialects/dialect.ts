/**
 * An API shape: how images are asked for and how results, events and errors look. Whatever differs between dialects is here, so that a
 * new one is a folder beside the others and a line in the registry. Nothing in it knows the transport.
 */
import type { LatentcastError } from "../errors.ts";
import type { InputSources } from "../images/source.ts";
import type { JobResult, JobPreview } from "../jobs/events.ts";
import type { Job } from "../jobs/job.ts";
import type { Fitted } from "../jobs/submission.ts";
import type { Operation } from "../openapi/operation.ts";
import type { ModelInfo } from "../protocol/messages.ts";
import type { ParsedInput } from "../schema/input.ts";
import type { Parsed } from "../schema/parse.ts";
import type { ServedImage } from "../storage/published-images.ts";

/** The result when it is finished, or events as it forms. */
export type ResponseKind = "result" | "events";

export interface DialectRequest {
  readonly path: string;
  /** What the JSON said, or a `MultipartForm`. */
  readonly body: unknown;
}

/** A path that takes a `POST` and makes images. */
export interface DialectRoute {
  /** With `:name` for one part and `*` for the rest; more exact paths win over others, of whichever dialect. */
  readonly path: string;
  /** Some APIs say it in the path, others in the body. */
  readonly responseKind: (request: DialectRequest) => ResponseKind;
  /** Of this path alone; the dialect's own if absent. */
  readonly read?: (request: DialectRequest) => ReadRequest;
  /** Takes `multipart/form-data` beside JSON. */
  readonly takesForms?: boolean;
  /** Absent for other names of a path that is documented. */
  readonly operation?: Operation;
}

export interface ErrorResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: object;
}

/** What a stream carries. */
export type DialectEvent =
  | { readonly kind: "preview"; readonly body: object }
  | { readonly kind: "result"; readonly body: object }
  /** The last event of a stream that breaks off after it. */
  | { readonly kind: "error"; readonly error: LatentcastError };

/** How one request is fitted to the model, and what its responses look like. */
export interface Exchange {
  /** A name that the client gave the request, to ask for it by. */
  readonly label?: string | undefined;
  /** Of the final JPEG, WebP or AVIF, 1 to 100; the server's own if absent. */
  readonly outputQuality?: number | undefined;
  /**
   * Which of the server's models is asked for, undefined for the first; the input's `model` if absent.
   * @param preferred What the caller has set for all of its requests.
   */
  chooseModel?(names: readonly string[], preferred: string | undefined): string | undefined;
  /** What the model makes of the input. */
  fit(input: ParsedInput, model: ModelInfo): Fitted;
  /** Ready to be turned into JSON, bytes as `Base64`; undefined for a preview that is not shown. May take the time to encode it in another format. */
  preview(event: JobPreview, job: Job): object | undefined | Promise<object | undefined>;
  /** @param images The finished images where the client will find them: inside the response, or as files. */
  result(result: JobResult, job: Job, images: readonly ServedImage[]): object;
  /** The body for a request that its own caller has ended; without this, it fails with `cancelled`. */
  interrupted?(job: Job, preview: JobPreview | undefined): Promise<object>;
  /** The event as Server-Sent Events; several, where the dialect has several for it. */
  frame(event: DialectEvent): string | Buffer;
}

/** A request whose input is right, and how it is to be answered; or what is wrong with it. */
export type ReadRequest =
  | (Extract<Parsed<ParsedInput>, { ok: true }> & {
      readonly exchange: Exchange;
      /** The images that it starts from; if absent, the input's own `image_url` and `mask_url`. */
      readonly inputs?: InputSources | undefined;
    })
  | Extract<Parsed<ParsedInput>, { ok: false }>;

export interface Dialect {
  readonly name: string;
  readonly routes: readonly DialectRoute[];
  /** Paths that begin with one of these parts are its own: it answers there whatever refuses, a limit or a missing path too. */
  readonly prefixes: readonly string[];
  /** Checked as `generateInput` checks. A dialect may take other sizes, which `fit` then brings into the model's limits. */
  read(request: DialectRequest): ReadRequest;
  error(error: LatentcastError): ErrorResponse;
}

/**
 * A dialect that can also be asked for over the queue, where `owner/alias` means the dialect of `/owner/alias`. What is kept of a request
 * is its input alone, so everything about its response follows from that.
 */
export interface QueueDialect extends Dialect, Exchange {
  /** @param path That it was sent to, or would have been without the queue: variants of a model need fields of their own. */
  parse(body: unknown, path: string): Parsed<ParsedInput>;
  /** Follows from the request alone, wherever its job runs. */
  preview(event: JobPreview, job: Pick<Job, "seed">): object;
}

/** Of a queue dialect: every request is answered alike. */
export function readWith(dialect: QueueDialect, { body, path }: DialectRequest): ReadRequest {
  const parsed = dialect.parse(body, path);
  return parsed.ok ? { ...parsed, exchange: dialect } : parsed;
}
