/** The one error of the client. Codes are the server's own, and two for what happens on the way. */
import { isErrorCode, type ErrorCode } from "../errors.ts";
import type { FieldProblem } from "../schema/parse.ts";
import { asRecord, readString } from "./guards.ts";

/** `connection_failed`: no answer, or an answer that broke off for good. `unexpected_response`: an answer that is not Latentcast's. */
export type ClientErrorCode = ErrorCode | "connection_failed" | "unexpected_response";

export interface ClientErrorDetails {
  /** HTTP status; undefined when there was no answer. */
  readonly status?: number | undefined;
  readonly fields?: readonly FieldProblem[];
  readonly requestId?: string | undefined;
  readonly retryAfterSeconds?: number | undefined;
  readonly cause?: unknown;
}

/** Every failure of a client's calls. */
export class ClientError extends Error {
  override readonly name = "LatentcastError";
  readonly code: ClientErrorCode;
  readonly status: number | undefined;
  /** For `invalid_request`: which fields are wrong, and how. */
  readonly fields: readonly FieldProblem[];
  /** What the server's log calls this request. */
  readonly requestId: string | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ClientErrorCode, message: string, details: ClientErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.status = details.status;
    this.fields = details.fields ?? [];
    this.requestId = details.requestId;
    this.retryAfterSeconds = details.retryAfterSeconds;
  }
}

export function cancelled(cause?: unknown): ClientError {
  return new ClientError("cancelled", "The request was cancelled.", { status: 499, cause });
}

export function connectionFailed(cause: unknown): ClientError {
  return new ClientError("connection_failed", "The server could not be reached.", { cause });
}

/** The error of a response with a failure status. */
export async function errorOfResponse(response: Response): Promise<ClientError> {
  const body: unknown = await response.json().catch(() => undefined);
  return errorOfBody(body, {
    status: response.status,
    requestId: response.headers.get("x-fal-request-id") ?? undefined,
    retryAfterSeconds: readSeconds(response.headers.get("retry-after")),
  });
}

/** The error in a body `{detail, message, error_type}`. */
export function errorOfBody(body: unknown, details: ClientErrorDetails): ClientError {
  const record = asRecord(body);
  const type = readString(record, "error_type");
  const { detail } = record;
  const message = readString(record, "message") ?? (typeof detail === "string" ? detail : undefined);
  if (type === undefined || !isErrorCode(type)) {
    const status = details.status === undefined ? "" : ` with status ${details.status}`;
    return new ClientError(
      "unexpected_response",
      message ?? `The server answered${status} in a way this client does not know.`,
      details,
    );
  }
  return new ClientError(type, message ?? type, {
    ...details,
    fields: Array.isArray(detail) ? detail.map(fieldProblem) : [],
  });
}

function fieldProblem(value: unknown): FieldProblem {
  const record = asRecord(value);
  const { loc } = record;
  return {
    loc: Array.isArray(loc) ? loc.map(String) : [],
    msg: readString(record, "msg") ?? "",
    type: readString(record, "type") ?? "",
  };
}

/** `Retry-After` in seconds. Proxies also write it as a date. */
function readSeconds(header: string | null): number | undefined {
  if (header === null || header.trim() === "") return undefined;
  const seconds = Number(header);
  if (Number.isFinite(seconds)) return Math.max(0, seconds);
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, Math.ceil((at - Date.now()) / 1_000));
}
