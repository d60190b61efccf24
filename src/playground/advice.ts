/** Failures in words: what happened, and what to do about it. */
import type { LatentcastError } from "../client/index.ts";
import { limitsOf } from "./limits.ts";
import { randomSeed, type Values } from "./values.ts";

const SIDE_MULTIPLE = limitsOf("width").step;

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

export interface NextStep {
  /** What the button says. */
  readonly label: string;
  /** The values to try with. */
  readonly change: (values: Values) => Values;
}

/** What is likely to help, at one press. Undefined where only the visitor can mend it. */
export function nextStep({ code }: LatentcastError, minSide: number): NextStep | undefined {
  switch (code) {
    case "invalid_request":
    case "bad_request":
    case "forbidden":
    case "cancelled":
    case "not_implemented":
      return undefined;
    case "unauthorized":
      return { label: "Enter a key", change: (values) => values };
    case "numerical_error":
      return { label: "Try another seed", change: (values) => ({ ...values, seed: randomSeed() }) };
    case "out_of_memory":
      return { label: "Try it smaller", change: (values) => smaller(values, minSide) };
    default:
      return { label: "Try again", change: (values) => values };
  }
}

/** One picture instead of several; if it is one already, half as wide and high. */
function smaller(values: Values, minSide: number): Values {
  if (Number(values.num_images) > 1) return { ...values, num_images: "1" };
  const half = (side: string): string =>
    side === "" ? "" : String(Math.max(minSide, Math.round(Number(side) / 2 / SIDE_MULTIPLE) * SIDE_MULTIPLE));
  return { ...values, width: half(values.width), height: half(values.height) };
}
