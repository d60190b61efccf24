/** JSON of strangers: what it may weigh is decided by looking over the bytes, before anything is made of them. */
import { LatentcastError } from "../errors.ts";

/**
 * Bytes that are not inside strings. Everything that makes parsing slow or large (objects, arrays, numbers, names) needs some:
 * 57 MB of `{},` took 16 s and 2 GB, this much of it takes 0.1 s. An image in a data URI is one string and may have the whole body.
 */
const MAX_STRUCTURE_BYTES = 512 * 2 ** 10;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

const decoder = new TextDecoder("utf-8", { fatal: true });

/** @returns Undefined for no bytes: fal's clients name the content type also where they send no body. */
export function readJson(bytes: Buffer): unknown {
  if (bytes.byteLength === 0) return undefined;
  if (isTooComplex(bytes))
    throw new LatentcastError("payload_too_large", { message: "The JSON of the request has too many values." });
  try {
    return JSON.parse(decoder.decode(bytes));
  } catch (cause) {
    throw new LatentcastError("bad_request", { message: "The request body is not JSON in UTF-8.", cause });
  }
}

function isTooComplex(bytes: Buffer): boolean {
  let left = MAX_STRUCTURE_BYTES;
  let at = 0;
  while (at < bytes.length) {
    const opening = bytes.indexOf(QUOTE, at);
    left -= (opening < 0 ? bytes.length : opening) - at;
    if (left < 0) return true;
    if (opening < 0) return false;
    let closing = bytes.indexOf(QUOTE, opening + 1);
    while (closing >= 0 && isEscaped(bytes, closing)) {
      // Each costs a search of its own.
      left -= 1;
      if (left < 0) return true;
      closing = bytes.indexOf(QUOTE, closing + 1);
    }
    if (closing < 0) return false;
    left -= 2;
    at = closing + 1;
  }
  return false;
}

function isEscaped(bytes: Buffer, at: number): boolean {
  let first = at;
  while (bytes[first - 1] === BACKSLASH) first -= 1;
  return (at - first) % 2 === 1;
}
