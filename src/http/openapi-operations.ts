/** What each path does, answers and refuses. The paths of fal's proxy and its hosts lead to these. */
import {
  ALWAYS,
  errors,
  eventStream,
  json,
  jsonBody,
  OF_WORK,
  parameter,
  WITH_BODY,
  WITH_KEY,
  type Fragment,
  type Operation,
} from "./openapi-parts.ts";
import type { SchemaName } from "./openapi-schemas.ts";

export type Operations = Readonly<Record<string, Readonly<Partial<Record<"get" | "post" | "put", Operation>>>>>;

export function operations(): Operations {
  return { ...pictures(), ...queue(), ...files(), ...service() };
}

const STREAM_RULES =
  "Server-Sent Events of one line of JSON each: previews, and the result as the last one. A failure on the way is one `StreamError`, " +
  "after which the connection breaks off instead of ending. Comments keep the connection alive.";

function pictures(): Operations {
  const alias = "The same under `/{owner}/{alias}`, as fal's clients name models.";
  return {
    "/": {
      post: run(
        "generate",
        "Make pictures and answer when they are finished",
        "GenerateInput",
        "GenerateResult",
        alias,
      ),
    },
    "/stream": {
      post: stream("stream", "GenerateInput", "GenerateResult", "The same under `/{owner}/{alias}/stream`."),
    },
    "/fal-ai/fast-sdxl": {
      post: run("fastSdxl", "The same in the shape of fal's model of that name", "FastSdxlInput", "FastSdxlResult"),
    },
    "/fal-ai/fast-sdxl/stream": { post: stream("fastSdxlStream", "FastSdxlInput", "FastSdxlResult") },
  };
}

function run(
  operationId: string,
  summary: string,
  input: SchemaName,
  output: SchemaName,
  description?: string,
): Operation {
  return {
    operationId,
    tags: ["Pictures"],
    summary,
    ...(description === undefined ? {} : { description }),
    requestBody: jsonBody(input),
    responses: { "200": json("The finished pictures.", output), ...errors(...WITH_BODY, ...OF_WORK) },
  };
}

function stream(operationId: string, input: SchemaName, output: SchemaName, description = ""): Operation {
  return {
    operationId,
    tags: ["Pictures"],
    summary: "Make pictures and show them while they form",
    description: `${STREAM_RULES} ${description}`.trim(),
    requestBody: jsonBody(input),
    responses: { "200": eventStream(["PreviewEvent", output, "StreamError"]), ...errors(...WITH_BODY, ...OF_WORK) },
  };
}

const REQUEST = parameter("path", "id", { type: "string", format: "uuid" }, "The `request_id` of the submit.");
const LOGS = parameter("query", "logs", { enum: ["0", "1"] }, "`1` for log lines.");

function queue(): Operations {
  const about = (
    operationId: string,
    summary: string,
    rest: Pick<Operation, "responses"> & Partial<Operation>,
  ): Operation => ({
    operationId,
    tags: ["Queue"],
    summary,
    parameters: [REQUEST],
    ...rest,
  });
  const refusals = errors(...WITH_KEY, "not_found");
  return {
    "/queue": {
      post: {
        operationId: "submit",
        tags: ["Queue"],
        summary: "Leave a request with the server",
        description:
          "Kept with its result until it expires, also when the server is restarted. What is wrong with the input is told by the " +
          "result. `/queue/{owner}/{alias}` asks in the shape of that model.",
        parameters: [
          parameter("query", "fal_webhook", { type: "string", format: "uri" }, "Where to post the outcome."),
          parameter("query", "fal_max_queue_length", { type: "integer", minimum: 0 }, "Refuse when more are waiting."),
          parameter("header", "x-fal-queue-priority", { enum: ["normal", "low"] }, "`low` runs after everything else."),
          parameter("header", "x-fal-request-timeout", { type: "number" }, "Seconds within which work must begin."),
        ],
        requestBody: jsonBody("GenerateInput"),
        responses: {
          "200": {
            ...json("It is kept.", "SubmitReply"),
            links: linksTo("status", "statusStream", "events", "result", "cancel"),
          },
          ...errors(...WITH_BODY, "queue_full", "draining", "storage_full"),
        },
      },
    },
    "/requests/{id}": {
      get: about("result", "The result, with the status that a direct request would have had", {
        responses: {
          "200": json("The finished pictures.", "GenerateResult"),
          ...errors(...WITH_KEY, "not_found", "invalid_request", ...OF_WORK),
        },
      }),
    },
    "/requests/{id}/status": {
      get: about("status", "Where a request is", {
        parameters: [REQUEST, LOGS],
        responses: {
          "200": json("It has ended, well or not.", "QueueStatus"),
          "202": json("It has not.", "QueueStatus"),
          ...refusals,
        },
      }),
    },
    "/requests/{id}/status/stream": {
      get: about("statusStream", "Every change of it", {
        parameters: [REQUEST, LOGS],
        responses: { "200": eventStream(["QueueStatus"]), ...refusals },
      }),
    },
    "/requests/{id}/events": {
      get: about("events", "What happens to a request", {
        description:
          "Named Server-Sent Events with ids: `queued`, `started`, `progress`, `preview`, then `result` or `error`. Without an id to go " +
          "on from, how things stand comes first. A plain `EventSource` is enough.",
        parameters: [REQUEST, parameter("header", "last-event-id", { type: "string" }, "Go on after this event.")],
        responses: {
          "200": eventStream([
            "QueuedEvent",
            "StartedEvent",
            "ProgressEvent",
            "PreviewEvent",
            "GenerateResult",
            "ErrorEvent",
          ]),
          "204": { description: "That event was the last one." },
          ...refusals,
        },
      }),
    },
    "/requests/{id}/cancel": {
      put: about("cancel", "Stop a request, at its next step if it runs", {
        responses: {
          "200": json("It never ran.", "CancelReply"),
          "202": json("It will stop.", "CancelReply"),
          ...refusals,
        },
      }),
    },
  };
}

/** Which operations take the id that this answer brings. */
function linksTo(...operationIds: readonly string[]): Fragment {
  const parameters = { id: "$response.body#/request_id" };
  return Object.fromEntries(operationIds.map((operationId) => [operationId, { operationId, parameters }]));
}

function files(): Operations {
  const bytes: Fragment = { "*/*": { schema: { type: "string", format: "binary" } } };
  const key = parameter("path", "key", { type: "string" }, "The unguessable name.");
  const places = {
    type: "object",
    properties: { file_url: { type: "string" }, upload_url: { type: "string" } },
    required: ["file_url", "upload_url"],
  };
  return {
    "/files/{key}": {
      get: {
        operationId: "file",
        tags: ["Files"],
        summary: "A finished picture or an upload",
        parameters: [key],
        responses: {
          "200": { description: "Its bytes.", content: bytes },
          "304": { description: "They have not changed; they never do." },
          ...errors(...ALWAYS, "not_found"),
        },
        security: [],
      },
      put: {
        operationId: "upload",
        tags: ["Files"],
        summary: "Put the bytes of an upload to its `upload_url`",
        parameters: [key],
        requestBody: { content: bytes },
        responses: {
          "200": json("They are kept.", {
            type: "object",
            properties: { file_key: { type: "string" } },
            required: ["file_key"],
          }),
          ...errors(...ALWAYS, "forbidden", "payload_too_large", "storage_full"),
        },
        security: [],
      },
    },
    "/rest/storage/upload/initiate": {
      post: {
        operationId: "initiateUpload",
        tags: ["Files"],
        summary: "Ask for a place to put a file",
        requestBody: jsonBody({
          type: "object",
          properties: { content_type: { type: "string" }, file_name: { type: "string", maxLength: 1_024 } },
        }),
        responses: { "200": json("Where to put it, and where it will be.", places), ...errors(...WITH_BODY) },
      },
    },
  };
}

function service(): Operations {
  return {
    "/health": {
      get: {
        operationId: "health",
        tags: ["Service"],
        summary: "How things are; 200 while the process lives",
        responses: { "200": json("The state of the service and its workers.", "Health"), ...errors(...ALWAYS) },
        security: [],
      },
    },
    "/ready": {
      get: {
        operationId: "ready",
        tags: ["Service"],
        summary: "Whether a request would start now",
        responses: { "200": json("It would.", "Ready"), ...errors(...ALWAYS, "worker_unavailable", "draining") },
        security: [],
      },
    },
    "/metrics": {
      get: {
        operationId: "metrics",
        tags: ["Service"],
        summary: "Counters for Prometheus",
        responses: {
          "200": {
            description: "In Prometheus' text format.",
            content: { "text/plain": { schema: { type: "string" } } },
          },
          ...errors(...WITH_KEY),
        },
      },
    },
  };
}
