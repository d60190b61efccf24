/** What a worker reports, as a job's listeners are told it. */
import { LatentcastError } from "../errors.ts";
import type { ReportOf } from "../protocol/messages.ts";
import { MAX_SEED } from "../schema/input.ts";
import type { JobResult, Picture, PreviewEvent } from "./events.ts";
import type { Job } from "./job.ts";
import type { JobRequest } from "./request.ts";

/** `payload`: one encoded picture per image of the request. */
export function previewEvent(
  request: JobRequest,
  report: ReportOf<"preview">,
  payload: readonly Buffer[],
): PreviewEvent {
  const pictures = report.images.map(({ width, height }, index) => ({
    bytes: payload[index] ?? Buffer.alloc(0),
    contentType: report.content_type,
    width,
    height,
    seed: imageSeed(request.seed, index),
  }));
  return { kind: "preview", step: report.step, totalSteps: report.total_steps, pictures };
}

export function jobResult(job: Job, pictures: readonly Picture[], nowMs: number): JobResult {
  const { seed, prompt, warnings } = job.request;
  const { acceptedAtMs, startedAtMs = nowMs, firstPreviewAtMs } = job;
  return {
    pictures,
    seed,
    prompt,
    timings: {
      queueMs: startedAtMs - acceptedAtMs,
      inferenceMs: nowMs - startedAtMs,
      firstPreviewMs: firstPreviewAtMs === undefined ? null : firstPreviewAtMs - acceptedAtMs,
    },
    warnings,
  };
}

/** The worker's words reach the client only where they are about the client's own input. */
export function workerFailure({ code, message }: ReportOf<"failed">): LatentcastError {
  return new LatentcastError(code, code === "invalid_request" ? { message } : { cause: message });
}

/** Image i of a request can be made again alone with this seed. */
export function imageSeed(seed: number, index: number): number {
  return (seed + index) % (MAX_SEED + 1);
}
