/** The one catalogue of failures: stable code, HTTP status, whose fault it is, and a text that is safe to send. */
import type { FieldProblem } from "./schema/parse.ts";

/** Who has to do something about it. */
export type Blame = "client" | "server";

interface CatalogueEntry {
  readonly status: number;
  readonly blame: Blame;
  /** What the client reads unless the failure has a text of its own that is safe to send. */
  readonly text: string;
}

const catalogue = {
  invalid_request: { status: 422, blame: "client", text: "The request is not valid." },
  bad_request: { status: 400, blame: "client", text: "The request could not be read." },
  unauthorized: { status: 401, blame: "client", text: "An API key is required: send `Authorization: Key <key>`." },
  forbidden: { status: 403, blame: "client", text: "That is not allowed." },
  not_found: { status: 404, blame: "client", text: "There is nothing here." },
  method_not_allowed: { status: 405, blame: "client", text: "This path does not support that method." },
  receive_timeout: { status: 408, blame: "client", text: "The request did not arrive in time." },
  payload_too_large: { status: 413, blame: "client", text: "The request body is too large." },
  unsupported_media_type: { status: 415, blame: "client", text: "Send JSON with `content-type: application/json`." },
  headers_too_large: {
    status: 431,
    blame: "client",
    text: "The address and the headers are too long; 16 kB is the limit.",
  },
  rate_limited: { status: 429, blame: "client", text: "Too many requests with this key; try again later." },
  queue_full: { status: 429, blame: "client", text: "The queue is full; try again later." },
  cancelled: { status: 499, blame: "client", text: "The request was cancelled." },
  internal_error: { status: 500, blame: "server", text: "Internal Server Error" },
  not_implemented: { status: 501, blame: "client", text: "This server cannot do that." },
  numerical_error: {
    status: 500,
    blame: "server",
    text: "The model's output contained NaN or infinity; another seed may work.",
  },
  out_of_memory: { status: 503, blame: "server", text: "The device ran out of memory; a smaller image may work." },
  worker_crashed: { status: 503, blame: "server", text: "The worker died twice while running this request." },
  worker_unavailable: { status: 503, blame: "server", text: "No worker can take the request now; try again later." },
  overloaded: { status: 503, blame: "server", text: "The server is overloaded; try again later." },
  draining: { status: 503, blame: "server", text: "The server is shutting down." },
  storage_full: { status: 507, blame: "server", text: "There is no room left to keep this; try again later." },
  request_timeout: { status: 504, blame: "server", text: "The request timed out before it started." },
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof catalogue;

export interface LatentcastErrorOptions {
  /** Replaces the catalogue's text. It goes to the client, so it must carry no path, prompt or traceback. */
  readonly message?: string;
  readonly fields?: readonly FieldProblem[];
  readonly retryAfterSeconds?: number;
  readonly cause?: unknown;
}

/** Every failure that leaves the library, in process and over HTTP. */
export class LatentcastError extends Error {
  override readonly name = "LatentcastError";
  readonly code: ErrorCode;
  readonly status: number;
  readonly blame: Blame;
  readonly fields: readonly FieldProblem[];
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ErrorCode, options: LatentcastErrorOptions = {}) {
    const entry = catalogue[code];
    super(options.message ?? entry.text, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.status = entry.status;
    this.blame = entry.blame;
    this.fields = options.fields ?? [];
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

export function isErrorCode(value: string): value is ErrorCode {
  return Object.hasOwn(catalogue, value);
}

export interface ErrorDescription {
  readonly code: ErrorCode;
  readonly status: number;
  readonly text: string;
}

/** The catalogue for documentation. */
export function describeErrors(): readonly ErrorDescription[] {
  return Object.entries(catalogue).map(([code, { status, text }]) => ({ code: code as ErrorCode, status, text }));
}

/** Wraps whatever was thrown; a foreign error becomes `internal_error` with its text kept in `cause` only. */
export function toLatentcastError(thrown: unknown): LatentcastError {
  return thrown instanceof LatentcastError ? thrown : new LatentcastError("internal_error", { cause: thrown });
}
