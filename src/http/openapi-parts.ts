/** The pieces that operations are put together from. */
import { describeErrors, type ErrorCode } from "../errors.ts";
import { schemaRef, type JsonSchema, type SchemaName } from "./openapi-schemas.ts";

export type Fragment = Readonly<Record<string, unknown>>;

export interface Operation {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly summary: string;
  readonly description?: string;
  readonly parameters?: readonly Fragment[];
  readonly requestBody?: Fragment;
  readonly responses: Readonly<Record<string, Fragment>>;
  /** Empty: answered without a key. */
  readonly security?: readonly [];
}

const headers = {
  "x-fal-request-id": { description: "What the server's log calls this request.", schema: { type: "string" } },
};

const errorHeaders = {
  ...headers,
  "x-fal-error-type": { description: "The same code as in the body.", schema: { type: "string" } },
};

/** Whatever is asked for may be refused for these. */
export const ALWAYS: readonly ErrorCode[] = ["bad_request", "internal_error", "overloaded"];
export const WITH_KEY: readonly ErrorCode[] = [...ALWAYS, "unauthorized"];
export const WITH_BODY: readonly ErrorCode[] = [
  ...WITH_KEY,
  "rate_limited",
  "payload_too_large",
  "unsupported_media_type",
  "invalid_request",
];
/** How a request for pictures can end. */
export const OF_WORK: readonly ErrorCode[] = [
  "queue_full",
  "cancelled",
  "numerical_error",
  "out_of_memory",
  "worker_crashed",
  "worker_unavailable",
  "draining",
  "request_timeout",
  "storage_full",
];

export function jsonBody(schema: SchemaName | JsonSchema): Fragment {
  return { required: true, content: { "application/json": { schema: toSchema(schema) } } };
}

export function json(description: string, schema: SchemaName | JsonSchema): Fragment {
  return { description, headers, content: { "application/json": { schema: toSchema(schema) } } };
}

/** Says what each event is the way OpenAPI 3.2 does; 3.1 has no word for it, and its tools pass over this one. */
export function eventStream(events: readonly SchemaName[]): Fragment {
  const data = {
    type: "string",
    contentMediaType: "application/json",
    contentSchema: { anyOf: events.map(schemaRef) },
  };
  const itemSchema = {
    type: "object",
    properties: { id: { type: "string" }, event: { type: "string" }, data },
    required: ["data"],
  };
  return { description: "The events.", headers, content: { "text/event-stream": { itemSchema } } };
}

export function parameter(
  place: "path" | "query" | "header",
  name: string,
  schema: JsonSchema,
  description: string,
): Fragment {
  return { in: place, name, required: place === "path", schema, description };
}

/** One answer for each status, naming the codes it can carry. */
export function errors(...codes: readonly ErrorCode[]): Record<string, Fragment> {
  const described = describeErrors().filter(({ code }) => codes.includes(code));
  const statuses = [...new Set(described.map(({ status }) => status))];
  return Object.fromEntries(
    statuses.map((status) => {
      const lines = described
        .filter((error) => error.status === status)
        .map(({ code, text }) => `\`${code}\`: ${text}`);
      const content = { "application/json": { schema: schemaRef("ErrorBody") } };
      return [status, { description: lines.join("\n\n"), headers: errorHeaders, content }];
    }),
  );
}

function toSchema(schema: SchemaName | JsonSchema): JsonSchema {
  return typeof schema === "string" ? schemaRef(schema) : schema;
}
