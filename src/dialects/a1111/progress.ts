/** How far a request is, in the shape of `GET /sdapi/v1/progress` and of `POST /internal/progress`. */
import type { JobPreview } from "../../jobs/events.ts";
import type { Job } from "../../jobs/job.ts";
import { Base64 } from "../../schema/base64.ts";
import { timestamp } from "./info.ts";
import type { ProgressResponse, TaskInput, TaskResponse } from "./schema.ts";

/** A progress of 0 means that nothing runs. */
const LEAST = 0.01;

/** An answer until it is written: its image still is bytes. */
type Written<Answer, Image extends keyof Answer> = Omit<Answer, Image> & Record<Image, Base64 | null>;

export type WrittenProgress = Written<ProgressResponse, "current_image">;
export type WrittenTask = Written<TaskResponse, "live_preview">;

interface Standing {
  readonly progress: number;
  /** Seconds. */
  readonly eta: number;
  readonly step: number;
  readonly steps: number;
}

/** @param job Undefined where nothing runs. */
export function progressOf(job: Job | undefined, nowMs: number, { skipsImage = false } = {}): WrittenProgress {
  if (job === undefined) return { progress: 0, eta_relative: 0, state: IDLE, current_image: null, textinfo: null };
  const { progress, eta, step, steps } = standing(job, nowMs);
  const startedAt = new Date(Date.now() - nowMs + (job.startedAtMs ?? job.acceptedAtMs));
  const state = { job: "scripts_txt2img", job_count: 1, job_timestamp: timestamp(startedAt) };
  return {
    progress,
    eta_relative: eta,
    state: { ...IDLE, ...state, sampling_step: step, sampling_steps: steps },
    current_image: skipsImage ? null : imageOf(job.newestPreview),
    textinfo: null,
  };
}

/**
 * @param job The request of that name, if it waits or runs.
 * @param hasEnded Whether one of that name has ended.
 */
export function taskProgressOf(
  job: Job | undefined,
  hasEnded: boolean,
  { id_live_preview: seen, live_preview: isWanted }: TaskInput,
  nowMs: number,
): WrittenTask {
  const isActive = job?.state.kind === "running";
  const flags = { active: isActive, queued: job !== undefined && !isActive, completed: hasEnded };
  if (job === undefined || !isActive) {
    const waiting = { progress: null, eta: null, live_preview: null, id_live_preview: -1 };
    return { ...flags, ...waiting, textinfo: "Waiting..." };
  }
  const { progress, eta } = standing(job, nowMs);
  const { newestPreview: preview } = job;
  const isNew = isWanted && preview !== undefined && preview.step !== seen;
  return {
    ...flags,
    progress,
    eta,
    live_preview: isNew ? imageOf(preview, "data:image/jpeg;base64,") : null,
    id_live_preview: isNew ? preview.step : seen,
    textinfo: null,
  };
}

const IDLE: ProgressResponse["state"] = {
  skipped: false,
  interrupted: false,
  stopping_generation: false,
  job: "",
  job_count: 0,
  job_timestamp: "0",
  job_no: 0,
  sampling_step: 0,
  sampling_steps: 0,
};

function standing({ state, startedAtMs, submission }: Job, nowMs: number): Standing {
  if (state.kind !== "running")
    return { progress: LEAST, eta: 0, step: 0, steps: submission.input.num_inference_steps ?? 0 };
  const { step, totalSteps } = state;
  const done = step === null ? 0 : step + 1;
  const progress = Math.min(1, LEAST + done / totalSteps);
  const elapsedMs = nowMs - (startedAtMs ?? nowMs);
  return { progress, eta: elapsedMs / progress / 1_000 - elapsedMs / 1_000, step: done, steps: totalSteps };
}

/** Of several images the first. As the worker made it: JPEG, which every program recognises by its bytes. */
function imageOf(preview: JobPreview | undefined, prefix = ""): Base64 | null {
  const image = preview?.images[0];
  return image === undefined ? null : new Base64(image.bytes, prefix);
}
