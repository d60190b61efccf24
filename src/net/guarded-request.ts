/**
 * HTTP to an address that a client named. The name is looked up once, every address it has is checked, and the connection goes to an
 * address that was checked: a name that changes between the two (DNS rebinding) leads nowhere else. No redirect is followed, no proxy
 * variable is read, no cookie is kept.
 */
import { lookup as dnsLookup, type LookupAddress } from "node:dns";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import type { LookupFunction } from "node:net";
import { reachOf, reachProblem, urlProblem, type AddressRules } from "./addresses.ts";

export interface GuardedRequestOptions extends AddressRules {
  readonly method: "GET" | "POST";
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  readonly signal: AbortSignal;
  /** Stands in for the system's name resolution in tests. */
  readonly lookup?: LookupFunction | undefined;
}

/** Resolves with the response, whose body has to be read or destroyed. Rejects when the address is not to be called, or cannot be. */
export async function guardedRequest(url: URL, options: GuardedRequestOptions): Promise<IncomingMessage> {
  const problem = urlProblem(url, options);
  if (problem !== undefined) throw new Error(`the address ${problem}`);
  const { method, headers, body, signal } = options;
  return new Promise((resolve, reject) => {
    const request = (url.protocol === "https:" ? httpsRequest : httpRequest)(url, {
      method,
      headers: { ...headers, ...(body === undefined ? {} : { "content-length": body.byteLength }) },
      signal,
      lookup: checkedLookup(options, options.lookup),
      // A connection for each call: a kept one would outlive the check.
      agent: false,
    });
    request.once("error", reject);
    request.once("response", resolve);
    request.end(body);
  });
}

/** Name resolution for sockets that fails when any address of the name is not to be called. */
function checkedLookup(rules: AddressRules, lookup: LookupFunction = dnsLookup): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, found) => {
      // With an error there is no second argument at all, whatever its type says.
      const addresses: LookupAddress[] = Array.isArray(found) ? found : [];
      const problem = addresses.map(({ address }) => reachProblem(reachOf(address), rules)).find(Boolean);
      const failure = error ?? (problem === undefined ? null : new Error(`the address ${problem}`));
      const [first] = addresses;
      if (failure !== null || first === undefined) callback(failure ?? new Error("the name has no address"), "", 0);
      else if (options.all === true) callback(null, addresses);
      else callback(null, first.address, first.family);
    });
  };
}
