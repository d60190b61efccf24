/**
 * POST to an address that a client named. The name is looked up once, every address it has is checked, and the connection goes to an
 * address that was checked: a name that changes between the two (DNS rebinding) leads nowhere else. No redirect is followed.
 */
import { lookup as dnsLookup, type LookupAddress } from "node:dns";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import type { LookupFunction } from "node:net";
import { reachOf, reachProblem, urlProblem, type AddressRules } from "./addresses.ts";

export interface PostOptions extends AddressRules {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly signal: AbortSignal;
  /** Stands in for the system's name resolution in tests. */
  readonly lookup?: LookupFunction;
}

/** Resolves with the status; the body is not read. Rejects when the address is not to be called, or cannot be. */
export async function guardedPost(url: URL, options: PostOptions): Promise<number> {
  const problem = urlProblem(url, options);
  if (problem !== undefined) throw new Error(`the address ${problem}`);
  const body = Buffer.from(options.body);
  return new Promise((resolve, reject) => {
    const request = (url.protocol === "https:" ? httpsRequest : httpRequest)(url, {
      method: "POST",
      headers: { ...options.headers, "content-length": body.byteLength },
      signal: options.signal,
      lookup: checkedLookup(options, options.lookup),
      // A connection for each call: a kept one would outlive the check.
      agent: false,
    });
    request.once("error", reject);
    request.once("response", (response) => {
      resolve(response.statusCode ?? 0);
      response.destroy();
    });
    request.end(body);
  });
}

/** Name resolution for sockets that fails when any address of the name is not to be called. */
export function checkedLookup(rules: AddressRules, lookup: LookupFunction = dnsLookup): LookupFunction {
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
