/** OpenAI's Images API. What its clients need, and where they are known to break, is in docs/openai.md. */
import { parseObject } from "../../schema/parse.ts";
import type { Dialect, DialectRequest, DialectRoute, ReadRequest } from "../dialect.ts";
import { openAiErrorResponse } from "./error.ts";
import { OpenaiExchange } from "./exchange.ts";
import { readFields, wantsStream } from "./fields.ts";
import { toGenerateInput } from "./input.ts";
import { generationsOperation } from "./operations.ts";
import { generationInput } from "./schema.ts";

export const openaiDialect: Dialect = {
  name: "openai",
  // Programs are given a base address with `/v1` or without.
  prefixes: ["/v1", "/images", "/models"],
  routes: [
    { ...route("/v1/images/generations"), operation: generationsOperation },
    route("/images/generations"),
    ...["/v1/images/edits", "/images/edits", "/v1/images/variations", "/images/variations"].map(refused),
  ],
  read: ({ body }) => readGeneration(body),
  error: openAiErrorResponse,
};

function route(path: string): DialectRoute {
  return { path, delivery };
}

function refused(path: string): DialectRoute {
  return {
    ...route(path),
    refusal: "Images are not edited in this shape; `POST /` takes image_url, mask_url and strength.",
  };
}

function delivery({ body }: DialectRequest): "result" | "events" {
  return wantsStream(body) ? "events" : "result";
}

function readGeneration(body: unknown): ReadRequest {
  const parsed = parseObject(generationInput, readFields(body));
  if (!parsed.ok) return parsed;
  const converted = toGenerateInput(parsed.input, parsed.input.prompt, parsed.warnings);
  if (!converted.ok) return converted;
  return { ...converted, exchange: new OpenaiExchange(parsed.input, "image_generation") };
}
