/** POST to an address that a client named, for webhooks. */
import type { LookupFunction } from "node:net";
import type { AddressRules } from "./addresses.ts";
import { guardedRequest } from "./guarded-request.ts";

export interface PostOptions extends AddressRules {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly signal: AbortSignal;
  /** Stands in for the system's name resolution in tests. */
  readonly lookup?: LookupFunction;
}

/** Resolves with the status; the body is not read. Rejects when the address is not to be called, or cannot be. */
export async function guardedPost(url: URL, options: PostOptions): Promise<number> {
  const response = await guardedRequest(url, { ...options, method: "POST", body: Buffer.from(options.body) });
  response.destroy();
  return response.statusCode ?? 0;
}
