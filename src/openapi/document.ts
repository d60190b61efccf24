/** The OpenAPI document of a list of routes. A pure function; `GET /openapi.json` sends what it makes. */
import { describeErrors } from "../errors.ts";
import { errorBody } from "../schema/output.ts";
import { componentSchemas, schemaRef } from "./json-schema.ts";
import {
  outputSchema,
  type DescribedResponse,
  type Content,
  type NamedSchema,
  type Operation,
  type RequestBody,
} from "./operation.ts";

export interface DocumentedRoute {
  readonly method: string;
  /** With parameters as `:name`. */
  readonly path: string;
  readonly operation: Operation;
}

export interface DocumentFacts {
  readonly version: string;
  readonly needsKey: boolean;
}

type Fragment = Readonly<Record<string, unknown>>;

export interface OpenApiDocument {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Fragment>>;
  readonly [field: string]: unknown;
}

const ERROR = outputSchema("ErrorBody", errorBody);

const TAGS = {
  Images: "Make images, at once or as they form.",
  OpenAI: "The same in the shape of OpenAI's API.",
  AUTOMATIC1111: "The same in the shape of A1111's web UI.",
  Queue: "Submit a request and get its result later.",
  Files: "Finished images and uploads.",
  Service: "How the server is.",
} as const satisfies Record<Operation["tag"], string>;

const REQUEST_ID = {
  "x-fal-request-id": { description: "What the server's log calls this request.", schema: { type: "string" } },
};

const ERROR_HEADERS = {
  ...REQUEST_ID,
  "x-fal-error-type": { description: "The same code as in the body.", schema: { type: "string" } },
};

export function openApiDocument(
  routes: readonly DocumentedRoute[],
  { version, needsKey }: DocumentFacts,
): OpenApiDocument {
  const paths: Record<string, Record<string, Fragment>> = {};
  const tags = Object.keys(TAGS);
  const inOrder = routes.toSorted((a, b) => tags.indexOf(a.operation.tag) - tags.indexOf(b.operation.tag));
  for (const { method, path, operation } of inOrder) {
    const template = path.replaceAll(/:(\w+)/g, "{$1}");
    paths[template] = { ...paths[template], [method.toLowerCase()]: describeOperation(operation, needsKey) };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Latentcast",
      version,
      description: "Stable Diffusion XL that streams the image while it forms.",
      license: { name: "MIT", identifier: "MIT" },
      contact: { name: "Latentcast" },
    },
    servers: [{ url: "/", description: "The server that this document came from." }],
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    paths,
    components: {
      schemas: componentSchemas([...usedSchemas(routes), ERROR]),
      ...(needsKey ? { securitySchemes: { key: KEY } } : {}),
    },
    security: needsKey ? [{ key: [] }] : [],
    // fal's tools list paths in this order.
    "x-fal-order-paths": Object.keys(paths),
  };
}

const KEY = { type: "apiKey", in: "header", name: "Authorization", description: "`Key <key>` or `Bearer <key>`." };

function usedSchemas(routes: readonly DocumentedRoute[]): readonly NamedSchema[] {
  return routes.flatMap(({ operation: { body, responses, failure } }) => [
    ...(body === undefined ? [] : bodySchemas(body).map(([, schema]) => schema)),
    ...(failure === undefined ? [] : [failure.body]),
    ...Object.values(responses).flatMap(schemasOf),
  ]);
}

function schemasOf(content: Content): readonly NamedSchema[] {
  return [...("json" in content ? [content.json] : []), ...("events" in content ? content.events : [])];
}

function describeOperation(operation: Operation, needsKey: boolean): Fragment {
  const { id, tag, summary, description, parameters = [], body, responses, isOpen = false } = operation;
  const codes = operation.errors.filter((code) => needsKey || code !== "unauthorized");
  return {
    operationId: id,
    tags: [tag],
    summary,
    description,
    ...(parameters.length === 0
      ? {}
      : { parameters: parameters.map((each) => ({ ...each, required: each.in === "path" })) }),
    ...(body === undefined ? {} : { requestBody: { required: true, content: bodyContent(body) } }),
    responses: {
      ...Object.fromEntries(
        Object.entries(responses).map(([status, response]) => [status, describeResponse(response)]),
      ),
      ...errorResponses(codes, operation.failure),
    },
    ...(isOpen ? { security: [] } : {}),
  };
}

function bodyContent(body: RequestBody): Fragment {
  if ("bytes" in body) return { [FILE_TYPES[0]]: { schema: BINARY } };
  return Object.fromEntries(bodySchemas(body).map(([type, schema]) => [type, { schema: schemaRef(schema) }]));
}

/** By media type. */
function bodySchemas(body: RequestBody): readonly (readonly [string, NamedSchema])[] {
  if ("bytes" in body) return [];
  return [
    ...("form" in body ? [["multipart/form-data", body.form] as const] : []),
    ...(body.json === undefined ? [] : [["application/json", body.json] as const]),
  ];
}

function describeResponse(response: DescribedResponse): Fragment {
  const { description, linksTo = [] } = response;
  const parameters = { id: "$response.body#/request_id" };
  return {
    description,
    headers: REQUEST_ID,
    ...("empty" in response ? {} : { content: contentOf(response) }),
    ...(linksTo.length === 0
      ? {}
      : { links: Object.fromEntries(linksTo.map((operationId) => [operationId, { operationId, parameters }])) }),
  };
}

const BINARY = { type: "string", format: "binary" };
/** By name, since generators stumble over wildcards. Whatever else was uploaded has its own type all the same. */
const FILE_TYPES = ["application/octet-stream", "image/jpeg", "image/png", "image/webp", "image/avif"] as const;

/**
 * The schema of an event stream is that of one event. OpenAPI 3.2 calls it `itemSchema`; 3.1 has no word for it, and a reader who knows
 * streams there takes the schema so.
 */
function contentOf(content: Exclude<Content, { empty: true }>): Fragment {
  const json = "json" in content ? { "application/json": { schema: schemaRef(content.json) } } : {};
  if (!("events" in content) && "json" in content) return json;
  if ("text" in content) return { "text/plain": { schema: { type: "string" } } };
  if ("bytes" in content) return Object.fromEntries(FILE_TYPES.map((type) => [type, { schema: BINARY }]));
  const [first, ...others] = content.events.map(schemaRef);
  const data = {
    type: "string",
    contentMediaType: "application/json",
    contentSchema: others.length === 0 ? first : { anyOf: [first, ...others] },
  };
  const properties = { id: { type: "string" }, event: { type: "string" }, data };
  return { ...json, "text/event-stream": { schema: { type: "object", properties, required: ["data"] } } };
}

/** One response for each status, naming the codes it can carry. */
function errorResponses(
  codes: readonly string[],
  { body, statusOf }: NonNullable<Operation["failure"]> = { body: ERROR, statusOf: ({ status }) => status },
): Record<string, Fragment> {
  const described = describeErrors()
    .filter(({ code }) => codes.includes(code))
    .map((error) => ({ ...error, status: statusOf(error) }));
  const statuses = [...new Set(described.map(({ status }) => status))];
  return Object.fromEntries(
    statuses.map((status) => {
      const lines = described
        .filter((error) => error.status === status)
        .map(({ code, text }) => `\`${code}\`: ${text}`);
      const content = { "application/json": { schema: schemaRef(body) } };
      const headers = body === ERROR ? ERROR_HEADERS : REQUEST_ID;
      return [status, { description: lines.join("\n\n"), headers, content }];
    }),
  );
}
