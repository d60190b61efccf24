/** What the queue answers: acceptance, status, cancellation, and the events of one request. Browser-safe. */
import { z } from "zod";
import { errorBody, previewEvent } from "./output.ts";

export const logLine = z.object({
  message: z.string(),
  level: z.enum(["INFO", "ERROR"]),
  source: z.literal("USER"),
  timestamp: z.string().describe("ISO 8601."),
});

const links = {
  request_id: z.string(),
  response_url: z.string(),
  status_url: z.string(),
  cancel_url: z.string(),
};

/** The answer to a submit. */
export const submitReply = z.object({
  status: z.literal("IN_QUEUE"),
  ...links,
  events_url: z.string().describe("Resumable events of this request (Server-Sent Events)."),
  gateway_request_id: z.string(),
  queue_position: z.int(),
  logs: z.null(),
  metrics: z.object({}),
});

const logs = z.array(logLine).nullable().describe("Null unless asked for with `logs=1`.");

/** Failed and cancelled requests are `COMPLETED` too, with `error` and `error_type`. */
export const queueStatus = z.discriminatedUnion("status", [
  z.object({
    status: z.literal("IN_QUEUE"),
    ...links,
    queue_position: z.int().describe("Requests ahead of this one."),
    reason: z.string().optional().describe("Of a fleet: why nobody can begin it now, where that is so."),
  }),
  z.object({ status: z.literal("IN_PROGRESS"), ...links, logs }),
  z.object({
    status: z.literal("COMPLETED"),
    ...links,
    logs,
    metrics: z.object({ inference_time: z.number().optional().describe("Seconds.") }),
    error: z.string().optional(),
    error_type: z.string().optional(),
  }),
]);

export const cancelReply = z.object({ status: z.enum(["OK", "CANCELLATION_REQUESTED"]) });

/** `data` of each named event of `GET /requests/{id}/events`. The last one of a request is `result` or `error`. */
export const requestEvents = {
  queued: z.object({
    position: z.int().describe("Requests ahead of this one."),
    estimate: z.number().nullable().describe("Seconds until it starts; null while it is unknown."),
  }),
  started: z.object({ total_steps: z.int() }),
  progress: z.object({ step: z.int(), total_steps: z.int(), progress: z.number() }),
  preview: previewEvent,
  /** The body of the result, in the shape of the endpoint that was asked. */
  result: z.record(z.string(), z.unknown()),
  error: errorBody.extend({ status: z.int().describe("The HTTP status of the result.") }),
} as const;

export type RequestEventName = keyof typeof requestEvents;
export type LogLine = z.infer<typeof logLine>;
export type SubmitReply = z.infer<typeof submitReply>;
export type QueueStatus = z.infer<typeof queueStatus>;
export type CancelReply = z.infer<typeof cancelReply>;
