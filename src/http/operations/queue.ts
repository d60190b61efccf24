/** What the paths of the queue do. */
import {
  OF_WORK,
  outputSchema,
  WITH_BODY,
  WITH_KEY,
  type DescribedResponse,
  type Operation,
  type Parameter,
} from "../../openapi/operation.ts";
import { GENERATE_INPUT, GENERATE_RESULT, PREVIEW_EVENT } from "../../dialects/latentcast/operations.ts";
import { cancelReply, logLine, queueStatus, requestEvents, submitReply } from "../../schema/queue.ts";

const [inQueue, inProgress, completed] = queueStatus.options;
const STATUS = outputSchema(
  "QueueStatus",
  queueStatus,
  outputSchema("LogLine", logLine),
  outputSchema("InQueue", inQueue),
  outputSchema("InProgress", inProgress),
  outputSchema("Completed", completed),
);
const CANCEL_REPLY = outputSchema("CancelReply", cancelReply);

const REQUEST: Parameter = {
  in: "path",
  name: "id",
  schema: { type: "string", format: "uuid" },
  description: "The `request_id` of the submit.",
};
const LOGS: Parameter = {
  in: "query",
  name: "logs",
  schema: { type: "string", enum: ["0", "1"] },
  description: "`1` for log lines.",
};

export const submitOperation: Operation = {
  id: "submit",
  tag: "Queue",
  summary: "Submit a request to the queue",
  description:
    "Kept with its result until it expires, also when the server is restarted. What is wrong with the input is in the " +
    "result. `/queue/{owner}/{alias}` asks in the shape of that model.",
  parameters: [
    {
      in: "query",
      name: "fal_webhook",
      schema: { type: "string", format: "uri" },
      description: "URL that the result is posted to.",
    },
    {
      in: "query",
      name: "fal_max_queue_length",
      schema: { type: "integer", minimum: 0 },
      description: "Refuse when more are waiting.",
    },
    {
      in: "header",
      name: "x-fal-queue-priority",
      schema: { type: "string", enum: ["normal", "low"] },
      description: "`low` runs after everything else.",
    },
    {
      in: "header",
      name: "x-fal-request-timeout",
      schema: { type: "number" },
      description: "Seconds within which work must begin.",
    },
  ],
  body: { json: GENERATE_INPUT },
  responses: {
    200: {
      description: "The request is stored.",
      json: outputSchema("SubmitReply", submitReply),
      linksTo: ["status", "statusStream", "events", "result", "cancel"],
    },
  },
  errors: [...WITH_BODY, "queue_full", "draining", "worker_unavailable", "storage_full"],
};

export const queueResultOperation = aboutRequest({
  id: "result",
  summary: "Get the result of a request",
  description: "The status is that of a direct request; 400 until the request has ended.",
  responses: { 200: { description: "The finished images.", json: GENERATE_RESULT } },
  errors: [...WITH_KEY, "not_found", "invalid_request", ...OF_WORK],
});

export const statusOperation = aboutRequest({
  id: "status",
  summary: "Get the status of a request",
  description: "Failed and cancelled requests are completed too, with `error` and `error_type`.",
  parameters: [REQUEST, LOGS],
  responses: {
    200: { description: "It has ended.", json: STATUS },
    202: { description: "It has not ended.", json: STATUS },
  },
});

export const statusStreamOperation = aboutRequest({
  id: "statusStream",
  summary: "Follow the status of a request",
  description: "Every change as Server-Sent Events, with new log lines only.",
  parameters: [REQUEST, LOGS],
  responses: { 200: { description: "The events.", events: [STATUS] } },
});

export const eventsOperation = aboutRequest({
  id: "events",
  summary: "Follow the events of a request",
  description:
    "Named Server-Sent Events with ids: `queued`, `started`, `progress`, `preview`, then `result` or `error`. Without an id to go " +
    "on from, how things stand comes first. A plain `EventSource` is enough.",
  parameters: [
    REQUEST,
    {
      in: "header",
      name: "last-event-id",
      schema: { type: "string" },
      description: "Continue after this event; `lastEventId` in the query does the same.",
    },
  ],
  responses: {
    200: {
      description: "The events.",
      events: [
        outputSchema("QueuedEvent", requestEvents.queued),
        outputSchema("StartedEvent", requestEvents.started),
        outputSchema("ProgressEvent", requestEvents.progress),
        PREVIEW_EVENT,
        GENERATE_RESULT,
        outputSchema("ErrorEvent", requestEvents.error),
      ],
    },
    204: { description: "That event was the last one.", empty: true },
  },
});

export const cancelOperation = aboutRequest({
  id: "cancel",
  summary: "Cancel a request",
  description: "A running request stops at its next step.",
  responses: {
    200: { description: "It was waiting and will not run.", json: CANCEL_REPLY },
    202: { description: "It will stop.", json: CANCEL_REPLY },
  },
});

function aboutRequest(
  rest: Pick<Operation, "id" | "summary" | "description"> &
    Partial<Pick<Operation, "parameters" | "errors">> & { responses: Readonly<Record<number, DescribedResponse>> },
): Operation {
  return { tag: "Queue", parameters: [REQUEST], errors: [...WITH_KEY, "not_found"], ...rest };
}
