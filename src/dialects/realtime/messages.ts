/**
 * What the server says on a realtime socket. Results and previews are objects whose images still are bytes; everything else is control,
 * which is always text: as msgpack, fal's Python client would give it to the program as a result.
 */
import type { LatentcastError } from "../../errors.ts";
import type { EncodedImage, JobPreview, JobResult } from "../../jobs/events.ts";
import { Base64 } from "../../schema/base64.ts";
import { falErrorBody } from "../fal-error.ts";
import { toSeconds } from "../latentcast/dialect.ts";
import type { RequestId } from "./schema.ts";

/** How a message carries its images: as bytes, as data URIs (JSON has no bytes), or as both. */
export type ImageForm = "content" | "url" | "both";

export interface ImageMessage {
  readonly images: readonly RealtimeImage[];
  readonly seed: number;
  readonly request_id: RequestId;
}

interface ResultMessage extends ImageMessage {
  readonly timings: { readonly queue: number; readonly inference: number };
  readonly has_nsfw_concepts: readonly boolean[];
  readonly prompt: string;
  readonly warnings: readonly string[];
}

interface PreviewMessage extends ImageMessage {
  readonly preview: { readonly step: number; readonly total_steps: number; readonly progress: number };
}

export interface RealtimeImage {
  readonly content?: Buffer;
  readonly url?: Base64;
  readonly content_type: string;
  readonly width: number;
  readonly height: number;
}

export function resultMessage(result: JobResult, requestId: RequestId, form: ImageForm): ResultMessage {
  const { queueMs, inferenceMs } = result.timings;
  return {
    images: result.images.map((image) => toImage(image, form)),
    seed: result.seed,
    timings: { queue: toSeconds(queueMs), inference: toSeconds(inferenceMs) },
    has_nsfw_concepts: result.images.map(() => false),
    prompt: result.prompt,
    warnings: [...result.warnings],
    request_id: requestId,
  };
}

export function previewMessage(
  preview: JobPreview,
  seed: number,
  requestId: RequestId,
  form: ImageForm,
): PreviewMessage {
  const { step, totalSteps, images } = preview;
  return {
    images: images.map((image) => toImage(image, form)),
    seed,
    preview: { step, total_steps: totalSteps, progress: (step + 1) / totalSteps },
    request_id: requestId,
  };
}

/** fal's own names where it has one, else the error's code; the body of the error beside it, for clients of ours. */
export function errorMessage(error: LatentcastError, requestId: RequestId): object {
  const code = error.code === "invalid_request" ? "INVALID_INPUT" : error.code.toUpperCase();
  return {
    type: "x-fal-error",
    error: code,
    reason: error.message,
    request_id: requestId,
    ...falErrorBody(error),
    ...(error.retryAfterSeconds === undefined ? {} : { retry_after: error.retryAfterSeconds }),
  };
}

/** A newer input took its place; no result will come. */
export function supersededMessage(requestId: RequestId): object {
  return { type: "x-fal-message", action: "superseded", request_id: requestId };
}

/** fal's JavaScript client swallows this one and opens a new socket at its next input. */
export const IDLE = { type: "x-fal-error", error: "TIMEOUT", reason: "no inputs, reconnect when needed!" };

/** Makes fal's JavaScript client give up its token; a status at the handshake would not. */
export const UNAUTHORIZED = { status: "error", error: "Unauthorized" };

function toImage({ bytes, contentType, width, height }: EncodedImage, form: ImageForm): RealtimeImage {
  return {
    ...(form === "url" ? {} : { content: bytes }),
    ...(form === "content" ? {} : { url: new Base64(bytes, `data:${contentType};base64,`) }),
    content_type: contentType,
    width,
    height,
  };
}
