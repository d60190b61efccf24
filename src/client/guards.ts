/**
 * Light reading of JSON from the server. The schemas themselves weigh 28 kB compressed with the library that runs them, twenty
 * times this client's parser; here only what the client itself touches is looked at.
 */

export type JsonRecord = Readonly<Record<string, unknown>>;

/** The value if it is an object, else an empty one. */
export function asRecord(value: unknown): JsonRecord {
  // An object of JSON has string keys.
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonRecord) : {};
}

export function readString(record: JsonRecord, key: string): string | undefined {
  const value = record[key];
  return typeof value === "string" ? value : undefined;
}

export function readNumber(record: JsonRecord, key: string): number | undefined {
  const value = record[key];
  return typeof value === "number" ? value : undefined;
}

export function readStrings(record: JsonRecord, key: string): string[] {
  const value = record[key];
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}
