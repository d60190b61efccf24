/** Plain values for unit tests; each is whole and valid, and takes what a test cares about. */
import { generateInput, type GenerateInput } from "../../src/schema/input.ts";
import { resolveRequest, type JobRequest } from "../../src/jobs/request.ts";
import { Job } from "../../src/jobs/job.ts";
import { drawSeed, type Priority } from "../../src/jobs/submission.ts";
import type { Capabilities, ModelInfo, ServedModel } from "../../src/protocol/messages.ts";
import type { WorkerInfo } from "../../src/worker/slot-state.ts";

export function modelInfo(overrides: Partial<ModelInfo> = {}): ModelInfo {
  return {
    id: "test",
    native_width: 64,
    native_height: 64,
    min_side: 64,
    max_side: 512,
    default_steps: 20,
    default_guidance_scale: 5,
    default_scheduler: "euler",
    prediction_type: "epsilon",
    distillation: null,
    is_noise: true,
    examples: [],
    vocabulary: null,
    takes_loras: false,
    ...overrides,
  };
}

export function servedModel(info: Partial<ModelInfo> = {}, capabilities: Partial<Capabilities> = {}): ServedModel {
  return {
    model: modelInfo(info),
    capabilities: {
      preview_decoders: ["tae", "linear"],
      max_batch: 1,
      max_jobs: 64,
      max_pixels: 2 ** 26,
      early_steps: 2,
      first_call_seconds: null,
      ...capabilities,
    },
    is_loaded: true,
    step_seconds: null,
    load_seconds: null,
    problem: null,
  };
}

export function workerInfo(capabilities: Partial<Capabilities> = {}, loaded: Partial<ModelInfo> = {}): WorkerInfo {
  const model = servedModel(loaded, capabilities);
  return {
    pid: 1,
    model: model.model,
    device: { id: "cpu", name: "test", memory_bytes: 0, dtype: "float32" },
    capabilities: model.capabilities,
    versions: {},
    stepSeconds: 0.1,
    choice: { models: [model], unserved: [] },
  };
}

export function jobRequest(input: Partial<GenerateInput> = {}): JobRequest {
  return resolveRequest(generateInput.parse({ prompt: "x", seed: 1, ...input }), workerInfo(), { maxPixels: 2 ** 24 });
}

export interface TestJobOptions {
  readonly id?: string;
  readonly request?: JobRequest;
  readonly priority?: Priority;
  readonly keep?: boolean;
}

/** A job that is queued: a model is loaded, and no worker has it. */
export function job(options: TestJobOptions = {}, onAbandoned: (job: Job) => void = () => undefined): Job {
  const { request = jobRequest(), ...given } = options;
  const subject = pendingJob(given, onAbandoned);
  subject.resolve(request);
  return subject;
}

/** A job that was accepted before a model was loaded. */
export function pendingJob(
  options: Omit<TestJobOptions, "request"> = {},
  onAbandoned: (job: Job) => void = () => undefined,
): Job {
  const input = drawSeed(generateInput.parse({ prompt: "x", seed: 1 }));
  return new Job({ id: "j", input, ...options }, 0, onAbandoned);
}
