/**
 * The wire between orchestrator and worker, defined once.
 *
 * A message is a ZeroMQ multipart, in both directions: `[JSON header][payload frame ...]`. The header is one of the objects below,
 * tagged by `type`; `frames.ts` says which of them carry payload. Names are snake_case on both sides, so one grep finds them in
 * TypeScript, Python and logs. `python/latentcast_worker/protocol.py` is generated from this file (`npm run gen`); descriptions
 * become its docstrings.
 */
import { z } from "zod";
import { generationParams, schedulerName } from "./params.ts";

/** Raised with every incompatible change; the worker names its own in `hello` and a difference ends it. */
export const PROTOCOL_VERSION = 2;

/** The longest JSON header that is read. The largest real one is a `generate` with two 5,000-character prompts, all escaped. */
export const MAX_HEADER_BYTES = 2 ** 20;

export const PREVIEW_DECODERS = ["tae", "linear"] as const;
export const PREVIEW_SOURCES = ["x0", "latents"] as const;

const count = z.int().min(0);
const seconds = z.number().min(0);

export const previewDecoder = z.enum(PREVIEW_DECODERS);
export const previewSource = z.enum(PREVIEW_SOURCES);
export const failureCode = z.enum([
  "invalid_request",
  "model_unavailable",
  "out_of_memory",
  "numerical_error",
  "internal_error",
]);
/** Why a worker ends itself. */
export const fatalCode = z.enum([
  "model_not_found",
  "model_invalid",
  "device_unavailable",
  "out_of_memory",
  "download_failed",
  "internal_error",
]);
export const logLevel = z.enum(["debug", "info", "warn", "error"]);

export const jobRef = z
  .object({
    job_id: z.string().min(1),
    incarnation: count.describe("The process of the slot that the job was given to, counted from 1."),
  })
  .describe("Names a job on the wire.");

export const imageSize = z.object({ width: z.int().min(1), height: z.int().min(1) }).describe("Pixels.");

export const previewPlan = z.object({
  every: z.int().min(1).describe("A preview after steps 0, every, 2*every, ..."),
  max_per_second: z
    .number()
    .positive()
    .nullable()
    .describe("Upper bound on previews per second of this job; null leaves the cadence to `every`."),
  max_side: z.int().min(1).nullable().describe("Longest side in pixels; null is the image's own size."),
  quality: z.int().min(1).max(100),
  decoder: previewDecoder,
  source: previewSource,
});

export const inputSizes = z
  .object({
    image: imageSize.nullable().describe("Payload: RGB8, height * width * 3 bytes."),
    mask: imageSize.nullable().describe("Payload: one byte per pixel, height * width bytes."),
  })
  .describe("The images that a job starts from. Each that is not null has one payload frame, in this order.");

export const generateMessage = z.object({
  type: z.literal("generate"),
  ...jobRef.shape,
  params: generationParams,
  inputs: inputSizes,
  preview: previewPlan.nullable(),
  traceparent: z.string().nullable().describe("W3C trace context of the request, for the worker's spans."),
});

export const commandMessage = z.discriminatedUnion("type", [
  generateMessage,
  z.object({ type: z.literal("cancel"), ...jobRef.shape }),
  z.object({ type: z.literal("ping") }),
  z.object({ type: z.literal("shutdown") }),
]);

/** What a small model knows; see `src/schema/vocabulary.ts`. */
export const modelVocabulary = z.object({
  summary: z.string().describe('What the model paints, to be read after "paints".'),
  subjects: z.array(z.string()).describe("Words and phrases, in lower case, that name something it can paint."),
  modifiers: z.array(z.string()).describe("Words that say how: colours, sides. Alone they name nothing."),
});

export const modelInfo = z.object({
  id: z.string().describe("What the worker was asked to load: hub id, folder or built-in name."),
  native_width: z.int().min(8),
  native_height: z.int().min(8),
  min_side: z.int().min(8),
  max_side: z.int().min(8),
  default_steps: z.int().min(1),
  default_guidance_scale: z.number().min(0),
  default_scheduler: schedulerName.nullable(),
  prediction_type: z.string().describe("What its UNet predicts: `epsilon`, `v_prediction` or `sample`."),
  distillation: z
    .string()
    .nullable()
    .describe("How it was distilled to few steps, such as `lightning`; null if it was not."),
  is_noise: z.boolean().describe("True when the weights are random and every image is noise."),
  examples: z.array(z.string()).describe("Prompts that show the model at its best."),
  vocabulary: modelVocabulary.nullable().describe("What it knows; null for a model that knows nearly everything."),
  takes_loras: z.boolean().describe("Whether the server has a folder of LoRAs that requests may name."),
});

export const deviceInfo = z.object({
  id: z.string().describe("torch's name, such as `cuda:0` or `cpu`."),
  name: z.string().describe("What is printed on the card."),
  memory_bytes: count,
  dtype: z.string().describe("The UNet's, by torch's name."),
});

export const capabilities = z.object({
  preview_decoders: z.array(previewDecoder).describe("Without a tiny decoder only `linear`."),
  max_batch: z.int().min(1).describe("Rows of equal latent shape that share a UNet call; 1 is exact mode."),
  max_jobs: z.int().min(1).describe("Jobs the engine holds at once."),
  max_pixels: z.int().min(1).describe("Sum of width * height * images over the jobs held at once."),
  early_steps: count.describe("Steps that the engine gives a newcomer ahead of older jobs."),
  first_call_seconds: seconds
    .nullable()
    .describe(
      "What the first call of a size may take, where a library searches its kernels then; null: no longer than others.",
    ),
});

export const servedModel = z
  .object({
    model: modelInfo,
    capabilities,
    is_loaded: z.boolean(),
    step_seconds: seconds
      .nullable()
      .describe("Measured when it was last loaded; null for a model that has not been loaded yet."),
    load_seconds: seconds.nullable().describe("What loading it took the last time; null before the first."),
    problem: z.string().nullable().describe("Why it could not be loaded when it was last tried."),
  })
  .describe("One of several models of a worker. What is not loaded is described from its files.");

export const unservedModel = z.object({
  id: z.string(),
  problem: z.string().describe("Why it cannot be served."),
});

export const reportMessage = z.discriminatedUnion("type", [
  z.object({ type: z.literal("hello"), protocol: count, pid: z.int().min(1) }),
  z.object({
    type: z.literal("loading"),
    stage: z.string().describe("Machine-readable, such as `import`, `download`, `weights`, `warmup`."),
    progress: z.number().min(0).max(1).nullable().describe("0..1 within the stage, null where it cannot be known."),
    detail: z.string().nullable(),
  }),
  z.object({
    // Of the model that requests get which name none. A worker with several models sends `models` before it, and at each change.
    type: z.literal("ready"),
    model: modelInfo,
    device: deviceInfo,
    capabilities,
    versions: z.record(z.string(), z.string()),
    step_seconds: seconds.describe(
      "Measured while warming up at the native size; the first estimate of a queue's speed.",
    ),
  }),
  z.object({
    type: z.literal("models"),
    models: z.array(servedModel).min(1).describe("In the operator's order; requests that name none get the first."),
    unserved: z.array(unservedModel),
  }),
  z.object({
    type: z.literal("started"),
    ...jobRef.shape,
    total_steps: z.int().min(1).describe("Steps that will run: fewer than were asked for where an image is the start."),
  }),
  z.object({
    type: z.literal("progress"),
    ...jobRef.shape,
    step: count.describe("Steps count from 0; this one has just finished."),
    step_seconds: seconds.describe("Device time of this job's step, without the iterations of other jobs."),
  }),
  z.object({
    type: z.literal("preview"),
    ...jobRef.shape,
    step: count,
    total_steps: z.int().min(1),
    content_type: z.literal("image/jpeg"),
    images: z.array(imageSize).min(1).describe("Payload: one JPEG each."),
    preview_seconds: seconds.describe("Decode to JPEG, first to last."),
  }),
  z.object({
    type: z.literal("result"),
    ...jobRef.shape,
    images: z.array(imageSize).min(1).describe("Payload: RGB8 each, height * width * 3 bytes."),
    warnings: z.array(z.string()).describe("What of the parameters was not used as asked, one sentence each."),
    decode_seconds: seconds.describe("Final decode and the copy to the host; the worker's spans show it."),
  }),
  z.object({
    type: z.literal("failed"),
    ...jobRef.shape,
    code: failureCode,
    message: z.string(),
    field: z.string().nullable().describe("What an `invalid_request` is about; null where the message says it all."),
  }),
  z.object({ type: z.literal("cancelled"), ...jobRef.shape, device_seconds: seconds }),
  z.object({
    type: z.literal("pong"),
    iterations: count.describe(
      "Of the engine since its start; a number that stands still while it holds jobs is a hang.",
    ),
    rss_bytes: count,
    device_memory_bytes: count,
  }),
  z.object({
    type: z.literal("log"),
    level: logLevel,
    message: z.string(),
    fields: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
  }),
  z.object({
    type: z.literal("fatal"),
    code: fatalCode,
    message: z.string(),
  }),
]);

export type FatalCode = z.infer<typeof fatalCode>;
export type Command = z.infer<typeof commandMessage>;
export type PreviewPlan = z.infer<typeof previewPlan>;
export type Report = z.infer<typeof reportMessage>;
export type ReportOf<Type extends Report["type"]> = Extract<Report, { type: Type }>;
export type ServedModel = z.infer<typeof servedModel>;
export type UnservedModel = z.infer<typeof unservedModel>;
export type ModelInfo = z.infer<typeof modelInfo>;
export type DeviceInfo = z.infer<typeof deviceInfo>;
export type Capabilities = z.infer<typeof capabilities>;
