/** JSON as bytes. What is {@link Base64} is written straight into them. */
import { escapeNonAscii } from "./ascii-json.ts";
import { Base64 } from "./base64.ts";

/** Stands for bytes in the text. Never leaves this process, so nobody can put it into a prompt. */
const PLACE = crypto.randomUUID();

/** JSON in UTF-8. */
export function toJsonBytes(value: object): Buffer {
  const { text, held } = withoutBytes(value);
  return held.length === 0 ? Buffer.from(text) : splice(Buffer.from(text).toString("latin1"), held);
}

/** JSON in ASCII, see {@link escapeNonAscii}, between `before` and `after`, which are ASCII too. */
export function toAsciiJsonBytes(value: object, before = "", after = ""): Buffer {
  const { text, held } = withoutBytes(value);
  return splice(before + escapeNonAscii(text) + after, held);
}

function withoutBytes(value: object): { readonly text: string; readonly held: readonly Base64[] } {
  const held: Base64[] = [];
  return { text: JSON.stringify(detach(value, held)), held };
}

/** A copy with {@link PLACE} for all bytes, which go to `held` in the order in which they are written. */
function detach(value: unknown, held: Base64[]): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Base64) {
    held.push(value);
    return PLACE;
  }
  if (Array.isArray(value)) return value.map((each: unknown) => detach(each, held));
  if (Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]: [string, unknown]) => [name, detach(each, held)]));
}

/** @param text One byte a character. */
function splice(text: string, held: readonly Base64[]): Buffer {
  const parts = text.split(PLACE);
  const size = parts.reduce((sum, part, index) => sum + part.length + (held[index]?.length ?? 0), 0);
  const bytes = Buffer.allocUnsafe(size);
  let at = 0;
  for (const [index, part] of parts.entries()) {
    at += bytes.write(part, at, "latin1");
    at = held[index]?.writeTo(bytes, at) ?? at;
  }
  return bytes;
}
