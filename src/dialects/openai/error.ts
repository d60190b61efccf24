/** Errors the way OpenAI's clients read them: as a status and body, and as the last event of a stream. */
import type { ErrorCode, LatentcastError } from "../../errors.ts";
import type { ErrorResponse } from "../dialect.ts";
import type { OpenaiError } from "./schema.ts";

/** The clients wait this long at most; told to wait longer, node's comes back when it likes and Python's gives up. */
const MAX_RETRY_AFTER_SECONDS = 60;

/** A client that is not told otherwise repeats every 5xx twice; these would only be computed three times. */
const FINAL: ReadonlySet<ErrorCode> = new Set([
  "numerical_error",
  "out_of_memory",
  "worker_crashed",
  "not_implemented",
]);

/** Our names of what this API has other names for. */
const FIELD_NAMES: Readonly<Record<string, string>> = {
  num_images: "n",
  width: "size",
  height: "size",
};

export function openAiErrorBody(error: LatentcastError): OpenaiError {
  const names = error.fields.map(({ loc }) => fieldName(loc));
  // Both sides may be wrong, and both are `size`.
  const texts = new Set(error.fields.map(({ msg }, index) => `${names[index]}: ${msg}`));
  return {
    error: {
      message: texts.size === 0 ? error.message : [...texts].join("; "),
      type: typeOf(error),
      param: names[0] ?? null,
      code: error.code,
    },
  };
}

export function openAiErrorResponse(error: LatentcastError): ErrorResponse {
  const { retryAfterSeconds: retryAfter } = error;
  return {
    status: statusOf(error),
    headers: {
      ...(retryAfter === undefined ? {} : { "retry-after": String(Math.min(retryAfter, MAX_RETRY_AFTER_SECONDS)) }),
      ...(FINAL.has(error.code) ? { "x-should-retry": "false" } : {}),
    },
    body: openAiErrorBody(error),
  };
}

/** Input that is wrong is 400 there. */
export function statusOf({ code, status }: Pick<LatentcastError, "code" | "status">): number {
  return code === "invalid_request" ? 400 : status;
}

function typeOf({ status, code }: LatentcastError): string {
  if (status === 401) return "authentication_error";
  if (status === 403) return "permission_error";
  if (status === 429) return "rate_limit_error";
  return status < 500 || code === "not_implemented" ? "invalid_request_error" : "server_error";
}

/** The path inside the body: `size`, `images.0.image_url`. */
function fieldName(loc: readonly string[]): string {
  const [first = "body", ...rest] = loc.slice(1);
  return [FIELD_NAMES[first] ?? first, ...rest].join(".");
}
