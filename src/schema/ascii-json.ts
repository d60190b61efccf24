/**
 * JSON in ASCII only. Some clients decode each network chunk by itself and would break a character that falls on a boundary,
 * others treat U+2028 as the end of a line; EXIF text has no agreed encoding at all.
 */
export function toAsciiJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
