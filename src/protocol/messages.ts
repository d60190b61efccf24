/**
 * The wire between orchestrator and worker, defined once.
 *
 * A message is a ZeroMQ multipart: `[JSON header][payload frame ...]`. The header is one of the objects below, tagged by `type`.
 * `preview` carries one JPEG per image, `result` one packed RGB8 buffer (height * width * 3 bytes) per image; every other message
 * carries no payload. Names are snake_case on both sides, so one grep finds them in TypeScript, Python and logs.
 * `python/latentcast_worker/protocol.schema.json` is generated from this file (`npm run gen`).
 */
import { z } from "zod";

/** Raised with every incompatible change; the worker names its own in `hello` and a difference ends it. */
export const PROTOCOL_VERSION = 1;

const jobRef = { job_id: z.string().min(1), epoch: z.int().min(0) };
const count = z.int().min(0);
const seconds = z.number().min(0);

export const SCHEDULERS = ["euler", "euler_a", "dpmpp_2m", "dpmpp_2m_karras", "ddim", "unipc"] as const;
export const PREVIEW_DECODERS = ["tae", "linear"] as const;
export const PREVIEW_SOURCES = ["x0", "latents"] as const;

const previewPlan = z.object({
  /** A preview after steps 0, every, 2*every, ... */
  every: z.int().min(1),
  /** Upper bound on previews per second of this job; null leaves the cadence to `every`. */
  max_per_second: z.number().positive().nullable(),
  /** Longest side in pixels; null is the picture's own size. */
  max_side: z.int().min(1).nullable(),
  quality: z.int().min(1).max(100),
  decoder: z.enum(PREVIEW_DECODERS),
  source: z.enum(PREVIEW_SOURCES),
});

export const generateMessage = z.object({
  type: z.literal("generate"),
  ...jobRef,
  prompt: z.string(),
  negative_prompt: z.string(),
  num_inference_steps: z.int().min(1),
  width: z.int().min(8),
  height: z.int().min(8),
  /** Image i uses (seed + i) mod 2^32. */
  seed: z
    .int()
    .min(0)
    .max(2 ** 32 - 1),
  guidance_scale: z.number().min(0),
  num_images: z.int().min(1),
  /** null is the model's own scheduler. */
  scheduler: z.enum(SCHEDULERS).nullable(),
  preview: previewPlan.nullable(),
  /** W3C trace context of the request, for the worker's spans. */
  traceparent: z.string().nullable(),
});

export const commandMessage = z.discriminatedUnion("type", [
  generateMessage,
  z.object({ type: z.literal("cancel"), ...jobRef }),
  z.object({ type: z.literal("ping"), nonce: count }),
  z.object({ type: z.literal("shutdown") }),
]);

export const modelInfo = z.object({
  /** What the worker was asked to load: hub id, folder or built-in name. */
  id: z.string(),
  native_width: z.int().min(8),
  native_height: z.int().min(8),
  min_side: z.int().min(8),
  max_side: z.int().min(8),
  default_steps: z.int().min(1),
  default_guidance_scale: z.number().min(0),
  default_scheduler: z.enum(SCHEDULERS).nullable(),
  /** True when the weights are random and every picture is noise. */
  is_noise: z.boolean(),
  /** Prompts that show the model at its best. */
  examples: z.array(z.string()),
});

export const deviceInfo = z.object({
  /** torch's name, such as `cuda:0` or `cpu`. */
  id: z.string(),
  /** What is printed on the card. */
  name: z.string(),
  memory_bytes: count,
  dtype: z.string(),
});

export const capabilities = z.object({
  schedulers: z.array(z.enum(SCHEDULERS)),
  preview_decoders: z.array(z.enum(PREVIEW_DECODERS)),
  preview_sources: z.array(z.enum(PREVIEW_SOURCES)),
  /** Rows of equal latent shape that share a UNet call; 1 is exact mode. */
  max_batch: z.int().min(1),
  /** Jobs the engine holds at once. */
  max_jobs: z.int().min(1),
  /** Sum of width * height * images over the jobs held at once. */
  max_pixels: z.int().min(1),
});

export const failureCode = z.enum(["invalid_request", "out_of_memory", "numerical_error", "internal_error"]);

const previewImage = z.object({ width: z.int().min(1), height: z.int().min(1) });

export const reportMessage = z.discriminatedUnion("type", [
  z.object({ type: z.literal("hello"), protocol: count, pid: z.int().min(1), worker_version: z.string() }),
  z.object({
    type: z.literal("loading"),
    /** Machine-readable stage, such as `import`, `download`, `weights`, `warmup`. */
    stage: z.string(),
    /** 0..1 within the stage, null where it cannot be known. */
    progress: z.number().min(0).max(1).nullable(),
    detail: z.string().nullable(),
  }),
  z.object({
    type: z.literal("ready"),
    model: modelInfo,
    device: deviceInfo,
    capabilities,
    versions: z.record(z.string(), z.string()),
    /** Measured while warming up at the native size; the first estimate of a queue's speed. */
    step_seconds: seconds,
  }),
  z.object({ type: z.literal("started"), ...jobRef }),
  z.object({
    type: z.literal("progress"),
    ...jobRef,
    /** Steps count from 0; this one has just finished. */
    step: count,
    total_steps: z.int().min(1),
    /** Device time this job's step took, the other jobs' turns left out. */
    step_seconds: seconds,
  }),
  z.object({
    type: z.literal("preview"),
    ...jobRef,
    step: count,
    total_steps: z.int().min(1),
    content_type: z.literal("image/jpeg"),
    images: z.array(previewImage).min(1),
    /** Decode to JPEG, first to last. */
    preview_seconds: seconds,
  }),
  z.object({
    type: z.literal("result"),
    ...jobRef,
    images: z.array(z.object({ width: z.int().min(1), height: z.int().min(1), seed: z.int().min(0) })).min(1),
    timings: z.object({
      /** From the worker's receipt to the first step. */
      wait_seconds: seconds,
      /** Device time of all steps of this job. */
      denoise_seconds: seconds,
      /** Final decode and the copy to the host. */
      decode_seconds: seconds,
      /** From the first step to the result. */
      total_seconds: seconds,
    }),
  }),
  z.object({
    type: z.literal("failed"),
    ...jobRef,
    code: failureCode,
    message: z.string(),
    /** Another worker, or the same one later, may succeed. */
    retryable: z.boolean(),
  }),
  z.object({
    type: z.literal("cancelled"),
    ...jobRef,
    /** Steps that had been done. */
    step: count,
    device_seconds: seconds,
  }),
  z.object({
    type: z.literal("pong"),
    nonce: count,
    jobs: count,
    /** UNet turns since the start; a number that stands still while jobs > 0 is a hang. */
    turns: count,
    last_step_seconds: seconds.nullable(),
    rss_bytes: count,
    device_memory_bytes: count,
  }),
  z.object({
    type: z.literal("log"),
    level: z.enum(["debug", "info", "warn", "error"]),
    message: z.string(),
    fields: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
  }),
  z.object({
    type: z.literal("fatal"),
    /** `model_not_found`, `model_invalid`, `device_unavailable`, `out_of_memory`, `download_failed`, `internal_error`. */
    code: z.string(),
    message: z.string(),
  }),
]);

export type Command = z.infer<typeof commandMessage>;
export type GenerateCommand = z.infer<typeof generateMessage>;
export type PreviewPlan = z.infer<typeof previewPlan>;
export type Report = z.infer<typeof reportMessage>;
export type ReportOf<Type extends Report["type"]> = Extract<Report, { type: Type }>;
export type ModelInfo = z.infer<typeof modelInfo>;
export type DeviceInfo = z.infer<typeof deviceInfo>;
export type Capabilities = z.infer<typeof capabilities>;
export type Scheduler = (typeof SCHEDULERS)[number];
