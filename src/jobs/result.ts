/** Turns what a worker reports into the result, previews and errors of a job. */
import { LatentcastError } from "../errors.ts";
import { describeImage } from "../images/description.ts";
import { CONTENT_TYPES, encodeImage } from "../images/encode.ts";
import type { ReportOf } from "../protocol/messages.ts";
import { imageSeed } from "../protocol/params.ts";
import { unservable } from "./choose-model.ts";
import type { EncodedImage, JobResult, JobPreview } from "./events.ts";
import type { Job } from "./job.ts";
import { invalidRequest, type JobRequest } from "./request.ts";

/** `payload`: one encoded image per image of the request. */
export function toJobPreview(seed: number, report: ReportOf<"preview">, payload: readonly Buffer[]): JobPreview {
  const images = report.images.map(({ width, height }, index) => ({
    bytes: payload[index] ?? Buffer.alloc(0),
    contentType: report.content_type,
    width,
    height,
    seed: imageSeed(seed, index),
  }));
  return { kind: "preview", step: report.step, totalSteps: report.total_steps, images };
}

/**
 * One RGB8 buffer per image to finished images.
 * @param modelId Written into them together with what made them; null writes nothing.
 */
export async function finishImages(
  request: JobRequest,
  report: ReportOf<"result">,
  rgb: readonly Buffer[],
  modelId: string | null,
): Promise<EncodedImage[]> {
  return Promise.all(
    report.images.map(async ({ width, height }, index) => {
      const seed = imageSeed(request.params.seed, index);
      const description = modelId === null ? null : describeImage(request, seed, modelId);
      const raw = { rgb: rgb[index] ?? Buffer.alloc(0), width, height };
      const bytes = await encodeImage(raw, request.outputFormat, { description, quality: request.outputQuality });
      return { bytes, contentType: CONTENT_TYPES[request.outputFormat], width, height, seed };
    }),
  );
}

export function jobResult(
  job: Job,
  { params, warnings }: JobRequest,
  report: Pick<ReportOf<"result">, "warnings">,
  images: readonly EncodedImage[],
  nowMs: number,
): JobResult {
  const { acceptedAtMs, startedAtMs = nowMs, firstPreviewAtMs } = job;
  return {
    images,
    seed: params.seed,
    prompt: job.prompt,
    timings: {
      queueMs: startedAtMs - acceptedAtMs,
      inferenceMs: nowMs - startedAtMs,
      firstPreviewMs: firstPreviewAtMs === undefined ? null : firstPreviewAtMs - acceptedAtMs,
    },
    warnings: [...warnings, ...report.warnings],
  };
}

/** The worker's words reach the client only where they are about the client's own input. */
export function workerFailure({ code, message, field }: ReportOf<"failed">): LatentcastError {
  if (code === "invalid_request" && field !== null)
    return invalidRequest([{ loc: ["body", field], msg: message, type: "value_error" }]);
  if (code === "model_unavailable") return unservable(message);
  return new LatentcastError(code, code === "invalid_request" ? { message } : { cause: message });
}
