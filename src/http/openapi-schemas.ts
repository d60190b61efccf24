/** The Zod schemas as OpenAPI components. One source: what is validated is what is documented. */
import { z } from "zod";
import { health, ready } from "../schema/health.ts";
import { generateInput } from "../schema/input.ts";
import { fastSdxlInput, fastSdxlResult } from "../dialects/fast-sdxl/schema.ts";
import { errorBody, generateResult, previewEvent, streamError } from "../schema/output.ts";
import { cancelReply, queueStatus, requestEvents, submitReply } from "../schema/queue.ts";

export type JsonSchema = Readonly<Record<string, unknown>>;

const INPUTS = { GenerateInput: generateInput, FastSdxlInput: fastSdxlInput };

const OUTPUTS = {
  GenerateResult: generateResult,
  FastSdxlResult: fastSdxlResult,
  PreviewEvent: previewEvent,
  StreamError: streamError,
  ErrorBody: errorBody,
  SubmitReply: submitReply,
  QueueStatus: queueStatus,
  CancelReply: cancelReply,
  QueuedEvent: requestEvents.queued,
  StartedEvent: requestEvents.started,
  ProgressEvent: requestEvents.progress,
  ErrorEvent: requestEvents.error,
  Health: health,
  Ready: ready,
};

export type SchemaName = keyof typeof INPUTS | keyof typeof OUTPUTS;

export function componentSchemas(): Record<SchemaName, JsonSchema> {
  return { ...convert(INPUTS, "input"), ...convert(OUTPUTS, "output") };
}

export function schemaRef(name: SchemaName): JsonSchema {
  return { $ref: `#/components/schemas/${name}` };
}

function convert<Name extends string>(
  schemas: Readonly<Record<Name, z.ZodType>>,
  io: "input" | "output",
): Record<Name, JsonSchema> {
  const entries = Object.entries<z.ZodType>(schemas).map(([name, schema]) => [name, toJsonSchema(schema, io)]);
  // The names come from the argument itself.
  return Object.fromEntries(entries) as Record<Name, JsonSchema>;
}

function toJsonSchema(schema: z.ZodType, io: "input" | "output"): JsonSchema {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, {
    io,
    override: ({ jsonSchema }) => {
      // fal's tools show fields in this order.
      if (jsonSchema.properties !== undefined)
        jsonSchema["x-fal-order-properties"] = Object.keys(jsonSchema.properties);
      // A later version may say more.
      if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
      // JavaScript's property classes; most other engines refuse the whole document for them.
      if (jsonSchema.pattern?.includes("\\p{") === true) delete jsonSchema.pattern;
      // Every integer that JavaScript can hold; says nothing but noise.
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
    },
  });
  return rest;
}
