/** From the server's JSON (snake_case, seconds) to the client's types (camelCase, milliseconds), and nowhere else. */
import { errorOfBody, ClientError } from "./error.ts";
import { asRecord, readNumber, readString, readStrings, type JsonRecord } from "./guards.ts";
import type {
  ClientCancelOutcome,
  ClientResult,
  ClientLogLine,
  ClientImage,
  ClientRequestStatus,
  ClientEvent,
} from "./types.ts";

export type Decoded =
  | { readonly kind: "event"; readonly event: ClientEvent }
  | { readonly kind: "result"; readonly result: ClientResult }
  | { readonly kind: "error"; readonly error: ClientError }
  /** An event of a newer server. */
  | { readonly kind: "unknown" };

/** One event of `GET /requests/{id}/events`. */
export function decodeEvent(name: string | undefined, data: string, requestId: string): Decoded {
  const record = asRecord(parse(data));
  switch (name) {
    case "queued": {
      const estimate = readNumber(record, "estimate");
      const estimateMs = estimate === undefined ? null : toMs(estimate);
      return { kind: "event", event: { kind: "queued", position: readNumber(record, "position") ?? 0, estimateMs } };
    }
    case "started":
      return { kind: "event", event: { kind: "started" } };
    case "progress":
      return { kind: "event", event: { kind: "progress", ...decodeStep(record) } };
    case "preview":
      return {
        kind: "event",
        event: { kind: "preview", ...decodeStep(asRecord(record["preview"])), ...decodeImages(record) },
      };
    case "result":
      return { kind: "result", result: decodeResult(record, requestId) };
    case "error":
      return { kind: "error", error: errorOfBody(record, { requestId, status: readNumber(record, "status") }) };
    default:
      return { kind: "unknown" };
  }
}

/** The result that `POST /`, a finished stream and a finished request give. */
export function decodeResult(value: unknown, requestId: string): ClientResult {
  const record = asRecord(value);
  const timings = asRecord(record["timings"]);
  const firstPreview = readNumber(timings, "first_preview");
  return {
    requestId,
    ...decodeImages(record),
    seed: required(readNumber(record, "seed"), "seed"),
    prompt: required(readString(record, "prompt"), "prompt"),
    timings: {
      queueMs: toMs(readNumber(timings, "queue") ?? 0),
      inferenceMs: toMs(readNumber(timings, "inference") ?? 0),
      firstPreviewMs: firstPreview === undefined ? null : toMs(firstPreview),
    },
    warnings: readStrings(record, "warnings"),
  };
}

export function decodeRequestId(value: unknown): string {
  return required(readString(asRecord(value), "request_id"), "request_id");
}

export function decodeStatus(value: unknown): ClientRequestStatus {
  const record = asRecord(value);
  switch (record["status"]) {
    case "IN_QUEUE":
      return { kind: "queued", position: readNumber(record, "queue_position") ?? 0 };
    case "IN_PROGRESS":
      return { kind: "started", logs: decodeLogs(record) };
    case "COMPLETED":
      return { kind: "finished", logs: decodeLogs(record), errorCode: readString(record, "error_type") ?? null };
    default:
      throw missing("status");
  }
}

export function decodeCancel(value: unknown): ClientCancelOutcome {
  return asRecord(value)["status"] === "CANCELLATION_REQUESTED" ? "requested" : "cancelled";
}

function decodeLogs(record: JsonRecord): ClientLogLine[] {
  const { logs } = record;
  if (!Array.isArray(logs)) return [];
  return logs.map(asRecord).map((line) => ({
    message: readString(line, "message") ?? "",
    level: readString(line, "level") ?? "",
    timestamp: readString(line, "timestamp") ?? "",
  }));
}

export function decodeStep(record: JsonRecord): { step: number; totalSteps: number } {
  return {
    step: required(readNumber(record, "step"), "step"),
    totalSteps: required(readNumber(record, "total_steps"), "total_steps"),
  };
}

export function decodeImages(record: JsonRecord): { image: ClientImage; images: ClientImage[] } {
  const { images: several, image: one } = record;
  const images = (Array.isArray(several) ? several : [one]).map(decodeImage);
  return { image: required(images[0], "image"), images };
}

function decodeImage(value: unknown): ClientImage {
  const record = asRecord(value);
  return {
    url: required(readString(record, "url"), "url"),
    contentType: readString(record, "content_type") ?? "",
    width: readNumber(record, "width") ?? 0,
    height: readNumber(record, "height") ?? 0,
  };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ClientError("unexpected_response", "The server sent an event that is not JSON.", { cause });
  }
}

function required<Value>(value: Value | undefined, name: string): Value {
  if (value === undefined) throw missing(name);
  return value;
}

function missing(name: string): ClientError {
  return new ClientError("unexpected_response", `The server's answer has no usable \`${name}\`.`);
}

function toMs(seconds: number): number {
  return Math.round(seconds * 10_000) / 10;
}
