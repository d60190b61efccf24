/** The flags of `latentcast generate` that set a generation parameter. They come from the request's schema: a new parameter has a flag. */
import { z } from "zod";
import { generationParams } from "../protocol/params.ts";
import { generateInput } from "../schema/input.ts";
import type { FlagDefinition } from "./arguments.ts";

export interface ParameterFlag {
  /** The request's field that the flag sets. */
  readonly field: string;
  readonly definition: FlagDefinition;
  readonly isNumber: boolean;
}

/** Flags that are shorter than their field. Others are the field's name with dashes. */
const SHORT_NAMES: Readonly<Record<string, string>> = {
  negative_prompt: "negative",
  num_inference_steps: "steps",
  guidance_scale: "guidance",
};

const fieldSchema = z.object({
  description: z.string(),
  type: z.string().optional(),
  enum: z.array(z.string()).optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
});
const fields = z
  .object({ properties: z.record(z.string(), z.looseObject({ anyOf: z.array(z.looseObject({})).optional() })) })
  .parse(z.toJSONSchema(generateInput, { io: "input" })).properties;

/** The prompt is the argument itself, LoRAs are no single value, the model is the one that is loaded, and LoRAs say how they were distilled. */
const UNLIKE = ["prompt", "loras", "model", "distillation"];

/** By the flag's name, without dashes. */
export const PARAMETER_FLAGS: Readonly<Record<string, ParameterFlag>> = Object.fromEntries(
  Object.keys(generationParams.shape)
    .filter((field) => !UNLIKE.includes(field))
    .map((field) => [SHORT_NAMES[field] ?? field.replaceAll("_", "-"), parameterFlag(field)]),
);

function parameterFlag(field: string): ParameterFlag {
  const { anyOf = [], ...outer } = fields[field] ?? {};
  // A field that also takes null is a choice of two schemas, the value's own first.
  const { description, type, enum: choices, minimum, maximum } = fieldSchema.parse({ ...anyOf[0], ...outer });
  if (choices !== undefined) {
    return { field, isNumber: false, definition: { value: "NAME", help: `One of ${choices.join(", ")}.` } };
  }
  if (type === "string") return { field, isNumber: false, definition: { value: "TEXT", help: description } };
  const range = minimum === undefined || maximum === undefined ? "" : ` ${minimum} to ${maximum}.`;
  return { field, isNumber: true, definition: { value: "N", help: `${description}${range}` } };
}
