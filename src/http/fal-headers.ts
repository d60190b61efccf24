/** What fal's clients say in headers and query parameters about how a request is to be handled. */
import type { FastifyRequest } from "fastify";
import type { Priority } from "../jobs/submission.ts";
import { urlProblem, type AddressRules } from "../net/addresses.ts";
import { invalidRequest } from "../jobs/request.ts";

/** The longest of Node's timers, 24.8 days. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/** Until when a request must have started. The newer of the header's two names wins; anything but a positive number is ignored. */
export function startTimeoutMs({ headers }: FastifyRequest): number | undefined {
  const seconds = Number(headers["x-fal-request-start-timeout"] ?? headers["x-fal-request-timeout"]);
  return seconds > 0 ? Math.min(Math.ceil(seconds * 1_000), MAX_TIMEOUT_MS) : undefined;
}

export function priority({ headers }: FastifyRequest): Priority {
  return headers["x-fal-queue-priority"] === "low" ? "low" : "normal";
}

/** Where to post the result. Throws `invalid_request` unless it is an address that may be called. */
export function webhookUrl(given: string | undefined, rules: AddressRules): string | null {
  if (given === undefined || given === "") return null;
  const url = URL.canParse(given) ? new URL(given) : undefined;
  const msg = url === undefined ? "must be an http or https URL without a user name" : urlProblem(url, rules);
  if (url !== undefined && msg === undefined) return url.href;
  throw invalidRequest([{ loc: ["query", "fal_webhook"], msg: msg ?? "", type: "url_parsing" }]);
}
