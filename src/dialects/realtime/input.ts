/** From a message of a client to what is drawn for it. */
import { LatentcastError } from "../../errors.ts";
import { invalidRequest } from "../../jobs/request.ts";
import { MAX_SEED, type ParsedInput } from "../../schema/input.ts";
import { parseObject } from "../../schema/parse.ts";
import { IMAGE_SIZES } from "../fast-sdxl/schema.ts";
import { withNumbers } from "../numbers.ts";
import { realtimeInput, requestId, type Mode, type RequestId } from "./schema.ts";

export interface InputMessage {
  readonly requestId: RequestId;
  readonly mode: Mode;
  readonly input: ParsedInput;
  /** The image to start from, where it came as bytes. */
  readonly imageBytes: Uint8Array | undefined;
  readonly warnings: readonly string[];
  /** Whether the client reads images as bytes alone, or (older programs) as data URIs too. */
  readonly wantsUrl: boolean;
}

export type Message = Readonly<Record<string, unknown>>;

/** Fields that programs for fal send as text. */
const NUMBERS = [
  ...["num_inference_steps", "guidance_scale", "num_images", "seed", "strength"],
  ...["width", "height", "clip_skip"],
];

/** Of a message that may be wrong otherwise. */
export function requestIdOf(message: unknown): RequestId {
  if (typeof message !== "object" || message === null) return "";
  return requestId.catch("").parse(Reflect.get(message, "request_id"));
}

/** Throws `invalid_request` naming the fields that are wrong. */
export function readInput(message: Message): InputMessage {
  // JavaScript's `undefined` arrives as nil: for every field it is the same as leaving it out.
  const given = Object.fromEntries(
    Object.entries(message).filter(([, value]) => value !== null && value !== undefined),
  );
  const parsed = parseObject(realtimeInput, withNumbers(given, NUMBERS));
  if (!parsed.ok) throw invalidRequest(parsed.problems);
  const { request_id: id, mode, image_size: size, image_bytes: imageBytes, seed, format, ...fields } = parsed.input;
  const [width, height] = typeof size === "string" ? IMAGE_SIZES[size] : [size?.width, size?.height];
  const isLarge = typeof seed === "number" && seed > MAX_SEED;
  return {
    requestId: id,
    mode,
    input: {
      ...fields,
      width: fields.width ?? width,
      height: fields.height ?? height,
      seed: isLarge ? seed % (MAX_SEED + 1) : seed,
      output_format: format ?? fields.output_format,
    },
    imageBytes,
    warnings: isLarge ? [`seed was taken modulo ${MAX_SEED + 1}`, ...parsed.warnings] : parsed.warnings,
    wantsUrl: fields.sync_mode && imageBytes === undefined && !("_force_msgpack" in given),
  };
}

/** For a message that is no map of fields at all. */
export function unreadable(reason: string, cause?: unknown): LatentcastError {
  return new LatentcastError("invalid_request", { message: reason, cause });
}
