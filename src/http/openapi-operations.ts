/** What each path does, answers and refuses. */
import { describeErrors, type ErrorCode } from "../errors.ts";
import { schemaRef, type JsonSchema, type SchemaName } from "./openapi-schemas.ts";

type Fragment = Readonly<Record<string, unknown>>;

export interface Operation {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly summary: string;
  readonly description?: string;
  readonly parameters?: readonly Fragment[];
  readonly requestBody?: Fragment;
  readonly responses: Readonly<Record<string, Fragment>>;
  readonly security?: readonly Fragment[];
}

export type Operations = Readonly<Record<string, Readonly<Partial<Record<"get" | "post" | "put", Operation>>>>>;

const REQUEST_ID = {
  "x-fal-request-id": { description: "What the server's log calls this request.", schema: { type: "string" } },
};

/** Whatever a request asks for, it may be refused for these. */
const ALWAYS: readonly ErrorCode[] = ["bad_request", "unauthorized", "rate_limited", "internal_error", "overloaded"];
const BODY: readonly ErrorCode[] = ["payload_too_large", "unsupported_media_type", "invalid_request"];
const WORK: readonly ErrorCode[] = [
  "queue_full",
  "cancelled",
  "numerical_error",
  "out_of_memory",
  "worker_crashed",
  "worker_unavailable",
  "draining",
  "request_timeout",
];

export function operations(): Operations {
  return {
    "/": {
      post: {
        operationId: "generate",
        tags: ["Pictures"],
        summary: "Make pictures and answer when they are finished",
        description: "The same under `/{owner}/{alias}`, as fal's clients name models.",
        requestBody: jsonBody("GenerateInput"),
        responses: {
          "200": json("The finished pictures.", "GenerateResult"),
          ...errors([...ALWAYS, ...BODY, ...WORK]),
        },
      },
    },
    "/stream": {
      post: {
        operationId: "stream",
        tags: ["Pictures"],
        summary: "Make pictures and show them while they form",
        description:
          "Server-Sent Events of one line of JSON each: `PreviewEvent`s, and as the last event a `GenerateResult`. A failure on the way " +
          "is one `StreamError`, after which the connection breaks off. Comments keep the connection alive. The same under " +
          "`/{owner}/{alias}/stream`.",
        requestBody: jsonBody("GenerateInput"),
        responses: {
          "200": eventStream(["PreviewEvent", "GenerateResult", "StreamError"]),
          ...errors([...ALWAYS, ...BODY, ...WORK]),
        },
      },
    },
    "/health": {
      get: {
        operationId: "health",
        tags: ["Service"],
        summary: "How things are; 200 while the process lives",
        responses: { "200": json("The state of the service and its workers.", "Health"), ...errors(ALWAYS) },
        security: [],
      },
    },
    "/ready": {
      get: {
        operationId: "ready",
        tags: ["Service"],
        summary: "Whether a request would start now",
        responses: { "200": json("It would.", "Ready"), ...errors([...ALWAYS, "worker_unavailable", "draining"]) },
        security: [],
      },
    },
  };
}

function jsonBody(name: SchemaName): Fragment {
  return { required: true, content: { "application/json": { schema: schemaRef(name) } } };
}

function json(description: string, name: SchemaName): Fragment {
  return { description, headers: REQUEST_ID, content: { "application/json": { schema: schemaRef(name) } } };
}

/** OpenAPI 3.1 has no schema for the events of a stream; fal's field order extension shows the way for another. */
function eventStream(events: readonly SchemaName[]): Fragment {
  const schema: JsonSchema = { type: "string", "x-event-schema": { oneOf: events.map(schemaRef) } };
  return { description: "The events.", headers: REQUEST_ID, content: { "text/event-stream": { schema } } };
}

/** One answer for each status, naming the codes it can carry. */
function errors(codes: readonly ErrorCode[]): Record<string, Fragment> {
  const answers: Record<string, Fragment> = {};
  const described = describeErrors().filter(({ code }) => codes.includes(code));
  for (const status of new Set(described.map((error) => error.status))) {
    const lines = described.filter((error) => error.status === status).map(({ code, text }) => `\`${code}\`: ${text}`);
    answers[status] = {
      description: lines.join("\n\n"),
      headers: {
        ...REQUEST_ID,
        "x-fal-error-type": { description: "The same code as in the body.", schema: { type: "string" } },
      },
      content: { "application/json": { schema: schemaRef("ErrorBody") } },
    };
  }
  return answers;
}
