/** What a client gets that asks for the result of a request, in the shape of its dialect: kept are an error or the dialect's own result. */
import type { Dialect } from "../dialects/dialect.ts";
import { LatentcastError } from "../errors.ts";
import { toAsciiJsonBytes } from "../schema/json.ts";
import type { Ended } from "../storage/request-store.ts";

export interface RequestResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** One line of JSON in ASCII. */
  readonly body: Buffer;
}

export function toResponse({ result, body }: Ended, dialect: Pick<Dialect, "error">): RequestResponse {
  if (result.error === null) return { status: 200, headers: {}, body };
  const { code, message, fields } = result.error;
  // It says nothing about when to try again: the request has ended, and asking again gets the same.
  const shaped = dialect.error(new LatentcastError(code, { message, fields }));
  return { status: shaped.status, headers: shaped.headers, body: toAsciiJsonBytes(shaped.body) };
}
