/** Looking into JSON of which nothing is certain. */
import type { JsonRecord } from "../client/guards.ts";

export function isRecord(value: unknown): value is JsonRecord {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function record(value: unknown): JsonRecord {
  return isRecord(value) ? value : {};
}

export function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** NaN when it is none. */
export function number(value: unknown): number {
  return typeof value === "number" ? value : Number.NaN;
}

export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
