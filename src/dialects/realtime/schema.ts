/** One input on a realtime socket: our own fields, those of fal's models, and what is about the socket itself. */
import { z } from "zod";
import { generateInput, OUTPUT_FORMATS, previewOptions } from "../../schema/input.ts";
import { asGenerateInput, fastSdxlInput } from "../fast-sdxl/schema.ts";

/** Ids longer than any that a program makes would only be carried about. */
const MAX_ID_LENGTH = 1_024;

const ignored = z.unknown().optional();

export const requestId = z.union([z.string().max(MAX_ID_LENGTH), z.int()]);

export const realtimeInput = generateInput.extend({
  width: asGenerateInput.shape.width,
  height: asGenerateInput.shape.height,
  image_size: fastSdxlInput.shape.image_size,
  seed: fastSdxlInput.shape.seed,
  format: z.enum(OUTPUT_FORMATS).optional(),
  /** Off unless asked for: fal's demos take the first message with their `request_id` for the answer. */
  preview: z
    .union([z.literal(false), z.literal(true).transform(() => previewOptions.parse({})), previewOptions])
    .default(false),
  sync_mode: z.boolean().default(false),
  image_bytes: z.instanceof(Uint8Array).optional(),
  request_id: requestId.default(""),
  /** Whether the running input is finished first, or cancelled at its next step. */
  mode: z.enum(["finish", "cancel"]).default("finish"),
  // What programs for fal send beside it, and what changes nothing here.
  _force_msgpack: ignored,
  enable_safety_checks: ignored,
  enable_safety_checker: ignored,
  safety_checker_version: ignored,
  expand_prompt: ignored,
});

export type Mode = z.output<typeof realtimeInput>["mode"];
export type RequestId = z.output<typeof requestId>;
