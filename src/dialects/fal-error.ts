/** Errors and events the way fal's clients read them. Ours are the same, so that everything outside of a dialect answers like this too. */
import type { LatentcastError } from "../errors.ts";
import { toAsciiJsonBytes } from "../schema/json.ts";
import type { ErrorBody } from "../schema/output.ts";
import type { ErrorResponse, DialectEvent } from "./dialect.ts";

export function falErrorBody(error: LatentcastError): ErrorBody {
  return {
    detail: error.fields.length > 0 ? error.fields.map((field) => ({ ...field, loc: [...field.loc] })) : error.message,
    // fal's and Vercel's clients show `message`; `detail` never reaches their error texts.
    message: error.message,
    error_type: error.code,
  };
}

export function falErrorResponse(error: LatentcastError): ErrorResponse {
  return {
    status: error.status,
    headers: {
      "x-fal-error-type": error.code,
      ...(error.retryAfterSeconds === undefined ? {} : { "retry-after": String(error.retryAfterSeconds) }),
      // Stops fal's clients from trying again: it was the caller's own limit.
      ...(error.code === "request_timeout" ? { "x-fal-request-timeout-type": "user" } : {}),
    },
    body: falErrorBody(error),
  };
}

/** One unnamed event. fal's clients ignore names, and take an `id:` or `retry:` line for an event without data. */
export function falFrame(event: DialectEvent): Buffer {
  const body = event.kind === "error" ? { error: event.error.message, ...falErrorBody(event.error) } : event.body;
  return toAsciiJsonBytes(body, "data: ", "\n\n");
}
