/** The shape of AUTOMATIC1111's web API, as far as it is served. Browser-safe. */
import { z } from "zod";

/** Of one request: batch size times number of batches. */
export const MAX_BATCHED_IMAGES = 16;
export const DEFAULT_STRENGTH = 0.75;

const MAX_SIDE = 14_142;
/** More than is read; it is repeated once for every image. */
const MAX_PROMPT_LENGTH = 100_000;
const MAX_NAME_LENGTH = 200;

const prompt = z.string().max(MAX_PROMPT_LENGTH).default("");
const name = z.string().max(MAX_NAME_LENGTH);
const anything = z.record(z.string(), z.unknown());
/** Accepted so that programs written for the web UI run; a warning says that nothing came of it. */
const unserved = (what: string): z.ZodDefault<z.ZodBoolean> =>
  z.boolean().default(false).describe(`Not served: ${what}. Ignored with a warning.`);

const clipStop = z.int().min(0).max(12);

/** Settings of one request that would otherwise be the server's. */
const overrideSettings = z.looseObject({
  sd_model_checkpoint: name.nullish().describe("A title from `GET /sdapi/v1/sd-models`; 404 for any other."),
  CLIP_stop_at_last_layers: clipStop.nullish().describe("As `clip_skip`, which wins."),
});

/** `null` counts as absent before this is applied, and numbers may come as text. */
export const txt2imgInput = z.object({
  prompt: prompt.describe("With weights: `(word:1.3)`, `[word]`, `BREAK`."),
  negative_prompt: prompt,
  seed: z.int().default(-1).describe("-1 is random. Image i uses seed + i."),
  batch_size: z.int().min(1).default(1).describe("Times `n_iter`: images of this request, all made together."),
  n_iter: z.int().min(1).default(1),
  steps: z.int().min(1).optional().describe("The model's own if absent; more than 50 are 50, with a warning."),
  cfg_scale: z.number().min(0).optional().describe("The model's own if absent; more than 20 is 20, with a warning."),
  width: z
    .int()
    .min(1)
    .max(MAX_SIDE)
    .optional()
    .describe("Pixels; brought to what the model can make, with a warning."),
  height: z
    .int()
    .min(1)
    .max(MAX_SIDE)
    .optional()
    .describe("Pixels; brought to what the model can make, with a warning."),
  sampler_name: name.optional().describe("The nearest there is, with a warning, where the name is not served."),
  sampler_index: name.optional().describe("Older name of `sampler_name`, which wins."),
  scheduler: name.optional().describe("`automatic`, `uniform` or `karras`."),
  clip_skip: clipStop.optional().describe("1 and 2 are SDXL's normal layer, 3 is one earlier."),
  override_settings: overrideSettings.default({}).describe("Others are ignored with a warning."),
  send_images: z.boolean().default(true).describe("`false` leaves `images` empty."),
  force_task_id: name.optional().describe("What `/internal/progress` calls it."),
  subseed_strength: z.number().default(0).describe("Not served: mixing two seeds. Ignored with a warning."),
  styles: z.array(z.unknown()).default([]).describe("Ignored: no styles are kept here."),
  alwayson_scripts: anything.default({}).describe("Ignored: there are no scripts."),
  script_name: name.optional().describe("Ignored: there are no scripts."),
  denoising_strength: z.unknown().optional().describe("Ignored: there is no image to start from."),
  enable_hr: unserved("a second pass at a higher resolution"),
  restore_faces: unserved("restoring faces"),
  tiling: unserved("images that tile"),
  save_images: unserved("keeping images on the server"),
});

export const img2imgInput = txt2imgInput.extend({
  init_images: z.array(z.string()).min(1).describe("Base64, a data URI, or a file of this server; the first counts."),
  denoising_strength: z.number().min(0).max(1).default(DEFAULT_STRENGTH).describe("How much is drawn anew."),
  mask: z.string().optional().describe("White where the image is to change."),
  mask_blur: z.number().optional().describe("Ignored: the inner edge fades over four pixels."),
  inpainting_fill: z.int().optional().describe("1, the original; others are ignored."),
  inpaint_full_res: z.union([z.boolean(), z.int()]).optional().describe("Ignored: the whole image is drawn."),
  inpainting_mask_invert: z.union([z.boolean(), z.int()]).default(0).describe("1: black where it is to change."),
  resize_mode: z.int().optional().describe("0, stretch; others are ignored."),
  include_init_images: z.boolean().default(false).describe("Whether the answer repeats the input."),
});

export const a1111Images = z.object({
  images: z.array(z.string()).describe("PNG in base64, without a prefix."),
  parameters: z.record(z.string(), z.unknown()).describe("The request, with what was filled in."),
  info: z
    .string()
    .describe("JSON as text: seeds, sizes, `infotexts`, and `warnings`, which says what was not done as asked."),
});

export const progressState = z.object({
  skipped: z.boolean(),
  interrupted: z.boolean(),
  stopping_generation: z.boolean(),
  job: z.string(),
  job_count: z.int().describe("1 while a request waits or runs, else 0."),
  job_timestamp: z.string(),
  job_no: z.int(),
  sampling_step: z.int(),
  sampling_steps: z.int(),
});

export const progressResponse = z.object({
  progress: z.number().min(0).max(1),
  eta_relative: z.number().describe("Seconds."),
  state: progressState,
  current_image: z.string().nullable().describe("JPEG in base64, without a prefix."),
  textinfo: z.string().nullable(),
});

export const taskInput = z.object({
  id_task: z.string().describe("The `force_task_id` of a request."),
  id_live_preview: z.int().default(-1).describe("The preview that the client has; only a newer one is sent."),
  live_preview: z.boolean().default(true),
});

export const taskResponse = z.object({
  active: z.boolean(),
  queued: z.boolean(),
  completed: z.boolean(),
  progress: z.number().nullable(),
  eta: z.number().nullable(),
  live_preview: z.string().nullable().describe("A data URI."),
  id_live_preview: z.int().nullable(),
  textinfo: z.string().nullable(),
});

export const options = z.looseObject({
  sd_model_checkpoint: z.string().nullish().describe("A title from `GET /sdapi/v1/sd-models`."),
});

export const checkpoint = z.object({
  title: z.string(),
  model_name: z.string(),
  hash: z.string().nullable(),
  sha256: z.string().nullable(),
  filename: z.string(),
  config: z.string().nullable(),
});

export const sampler = z.object({
  name: z.string(),
  aliases: z.array(z.string()),
  options: z.record(z.string(), z.string()),
});

export const scheduler = z.object({
  name: z.string(),
  label: z.string(),
  aliases: z.array(z.string()).nullable(),
  default_rho: z.number(),
  need_inner_model: z.boolean(),
});

export const a1111Error = z.object({
  error: z.string().describe("One of the codes in docs/api.md."),
  detail: z.string().describe("What programs show."),
  body: z.string(),
  errors: z.string(),
});

export type Txt2imgInput = z.output<typeof txt2imgInput>;
export type Img2imgInput = z.output<typeof img2imgInput>;
export type ProgressResponse = z.infer<typeof progressResponse>;
export type TaskInput = z.output<typeof taskInput>;
export type TaskResponse = z.infer<typeof taskResponse>;
export type Checkpoint = z.infer<typeof checkpoint>;
export type A1111Error = z.infer<typeof a1111Error>;
