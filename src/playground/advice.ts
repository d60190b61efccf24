/** Failures in words: what happened, and what to do about it. */
import type { LatentcastError } from "../client/index.ts";

const ADVICE: Partial<Record<LatentcastError["code"], string>> = {
  invalid_request: "Correct the marked field and try again.",
  unauthorized: "Generate again to enter a key.",
  rate_limited: "Wait a little, then generate again.",
  queue_full: "Many requests are waiting. Generate again in a while.",
  numerical_error: "Another seed or a lower guidance usually helps.",
  out_of_memory: "Choose a smaller size or fewer images.",
  worker_crashed: "Generate again; if it happens again, a smaller size may work. The server's log tells why.",
  worker_unavailable: "The model may still be loading. Try again in a moment; the line above says how far it is.",
  overloaded: "Try again in a moment.",
  draining: "Try again once the server is back.",
  request_timeout: "Many requests are waiting. Generate again in a while.",
  connection_failed: "Check that the server is running and reachable, then generate again.",
  internal_error: "The server's log tells more.",
};

export interface Problem {
  /** The form's name of the field; empty when it is none of its fields. */
  readonly field: string;
  readonly text: string;
}

export function describeFailure(error: LatentcastError): string {
  const wait = error.retryAfterSeconds === undefined ? "" : ` The server suggests ${error.retryAfterSeconds} s.`;
  const named = error.code === "invalid_request" ? "The server cannot use this request." : error.message;
  const reference = error.status !== undefined && error.status >= 500 && error.requestId !== undefined;
  return [
    `${named} ${ADVICE[error.code] ?? ""}`.trim() + wait,
    ...problemsOf(error).map(({ field, text }) => `${field || "request"}: ${text}`),
    ...(reference ? [`Request ${error.requestId}`] : []),
  ].join("\n");
}

/** `loc` begins with `body`; the rest is the path of the field. */
export function problemsOf(error: LatentcastError): Problem[] {
  return error.fields.map(({ loc, msg }) => ({ field: loc.slice(1).join("."), text: msg }));
}
