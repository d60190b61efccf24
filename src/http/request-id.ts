/** Ids of requests. A client may choose the one of a request it leaves with the queue, to be able to cancel it before it is answered. */
import { randomUUID } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";

export const REQUEST_ID_HEADER = "x-latentcast-request-id";

/** Random, so that other clients cannot guess it. */
const UUID_V4 = /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/;

interface Raw {
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  readonly headers: IncomingHttpHeaders;
}

export function newRequestId({ method, url = "", headers }: Raw): string {
  const chosen = headers[REQUEST_ID_HEADER];
  const mayChoose = method === "POST" && /^\/queue(?:[/?]|$)/.test(url);
  return mayChoose && typeof chosen === "string" && UUID_V4.test(chosen) ? chosen : randomUUID();
}

/** More than could be cancelled within a minute by pages that close; the oldest is forgotten first. */
const MAX_REMEMBERED = 10_000;

/**
 * Cancellations that came before their request: the page that closes sends both, and the way to the server does not keep their order.
 * Only the newest are remembered.
 */
export class EarlyCancellations {
  readonly #ids = new Set<string>();

  add(id: string): void {
    if (!UUID_V4.test(id)) return;
    this.#ids.add(id);
    const [oldest] = this.#ids;
    if (this.#ids.size > MAX_REMEMBERED && oldest !== undefined) this.#ids.delete(oldest);
  }

  has(id: string): boolean {
    return this.#ids.has(id);
  }
}
