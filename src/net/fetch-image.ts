/** GET of an image from an address that a client named. */
import type { IncomingMessage } from "node:http";
import type { LookupFunction } from "node:net";
import { urlProblem, type AddressRules } from "./addresses.ts";
import { guardedRequest } from "./guarded-request.ts";

/** The image cannot be had. The text goes to the client: it never tells what a name leads to, nor what is there. */
export class Unfetchable extends Error {
  override readonly name = "Unfetchable";
}

/** Where images may come from, and how much patience there is. Tests have another one. */
export interface ImageWeb extends AddressRules {
  readonly protocol: "https:" | "http:";
  /** Whether another port than the protocol's own may be named. */
  readonly allowPorts: boolean;
  readonly timeoutMs: number;
  readonly maxBytes: number;
  readonly lookup?: LookupFunction;
}

const OPEN_WEB: ImageWeb = {
  protocol: "https:",
  allowPorts: false,
  allowPrivate: false,
  timeoutMs: 10_000,
  maxBytes: 32 * 2 ** 20,
};

const MAX_REDIRECTS = 3;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/** Buckets that nobody told the type of their files say octet-stream. Whether it is an image is seen when it is decoded. */
const IMAGE_TYPE = /^(image\/[\w.+-]+|(application|binary)\/octet-stream)\s*(;|$)/i;

/**
 * The bytes as they come; whoever stops reading ends the call. Time and size are limits of the whole, redirects included. Throws
 * {@link Unfetchable}, or whatever ends a call whose `signal` fired.
 */
export async function* fetchImage(
  address: string,
  signal?: AbortSignal,
  web: ImageWeb = OPEN_WEB,
): AsyncGenerator<Buffer, void, undefined> {
  const timeout = AbortSignal.timeout(web.timeoutMs);
  try {
    const response = await follow(address, web, signal === undefined ? timeout : AbortSignal.any([signal, timeout]));
    yield* body(response, web.maxBytes);
  } catch (error) {
    if (error instanceof Unfetchable || signal?.aborted === true) throw error;
    const text = timeout.aborted ? `was not there within ${web.timeoutMs / 1_000} s` : "could not be fetched";
    throw new Unfetchable(text, { cause: error });
  }
}

/** The answer that is no redirect. Each address is checked anew. */
async function follow(address: string, web: ImageWeb, signal: AbortSignal): Promise<IncomingMessage> {
  let url = checked(address, undefined, web);
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects += 1) {
    const response = await guardedRequest(url, {
      method: "GET",
      headers: { accept: "image/*", "accept-encoding": "identity", "user-agent": "latentcast" },
      signal,
      allowPrivate: web.allowPrivate,
      lookup: web.lookup,
    });
    const { statusCode = 0, headers } = response;
    if (statusCode === 200) return response;
    response.destroy();
    if (!REDIRECTS.has(statusCode) || headers.location === undefined)
      throw new Unfetchable(`could not be fetched: it was answered ${statusCode}`);
    url = checked(headers.location, url, web);
  }
  throw new Unfetchable(`was redirected more than ${MAX_REDIRECTS} times`);
}

function checked(address: string, base: URL | undefined, web: ImageWeb): URL {
  const url = URL.canParse(address, base) ? new URL(address, base) : undefined;
  const where = base === undefined ? "" : "leads to an address that ";
  if (url?.protocol !== web.protocol) throw new Unfetchable(`${where}must begin with ${web.protocol}//`);
  if (url.port !== "" && !web.allowPorts) throw new Unfetchable(`${where}must not name a port`);
  const problem = urlProblem(url, web);
  if (problem !== undefined) throw new Unfetchable(`${where}${problem}`);
  return url;
}

async function* body(response: IncomingMessage, maxBytes: number): AsyncGenerator<Buffer, void, undefined> {
  try {
    const { "content-type": type, "content-encoding": encoding = "identity" } = response.headers;
    if (type !== undefined && !IMAGE_TYPE.test(type))
      throw new Unfetchable("is not an image by the content type that it has");
    if (encoding !== "identity") throw new Unfetchable("came compressed, though that was not asked for");
    if (Number(response.headers["content-length"] ?? 0) > maxBytes) throw tooLarge(maxBytes);
    let count = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      count += chunk.byteLength;
      if (count > maxBytes) throw tooLarge(maxBytes);
      yield chunk;
    }
  } finally {
    response.destroy();
  }
}

function tooLarge(maxBytes: number): Unfetchable {
  return new Unfetchable(`has more than the ${maxBytes} bytes that are fetched`);
}
