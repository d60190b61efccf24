/** OpenAI's Images API. What its clients need, and where they are known to break, is in docs/openai.md. */
import { parseObject } from "../../schema/parse.ts";
import type { Dialect, DialectRequest, DialectRoute, ReadRequest, ResponseKind } from "../dialect.ts";
import { readEdit, readVariation } from "./edits.ts";
import { openAiErrorResponse } from "./error.ts";
import { OpenaiExchange } from "./exchange.ts";
import { typedFields, wantsStream } from "./fields.ts";
import { inputFromOpenai } from "./input.ts";
import { editsOperation, generationsOperation, variationsOperation } from "./operations.ts";
import { generationInput } from "./schema.ts";

export const openaiDialect: Dialect = {
  name: "openai",
  // Programs are given a base address with `/v1` or without.
  prefixes: ["/v1", "/images", "/models"],
  routes: [
    ...atBothPaths("/images/generations", { responseKind, operation: generationsOperation }),
    ...atBothPaths("/images/edits", { responseKind, read: readEdit, takesForms: true, operation: editsOperation }),
    // The API has no streams of these.
    ...atBothPaths("/images/variations", {
      responseKind: () => "result",
      read: readVariation,
      takesForms: true,
      operation: variationsOperation,
    }),
  ],
  read: ({ body }) => readGeneration(body),
  error: openAiErrorResponse,
};

function atBothPaths(path: string, route: Required<Pick<DialectRoute, "operation">> & Omit<DialectRoute, "path">) {
  const { operation, ...undocumented } = route;
  return [
    { ...undocumented, path: `/v1${path}`, operation },
    { ...undocumented, path },
  ];
}

function responseKind({ body }: DialectRequest): ResponseKind {
  return wantsStream(body) ? "events" : "result";
}

function readGeneration(body: unknown): ReadRequest {
  const parsed = parseObject(generationInput, typedFields(body));
  if (!parsed.ok) return parsed;
  const { prompt, ...fields } = parsed.input;
  const converted = inputFromOpenai(fields, { prompt, warnings: parsed.warnings });
  if (!converted.ok) return converted;
  return { ...converted, exchange: new OpenaiExchange(fields, { subject: "image_generation" }) };
}
