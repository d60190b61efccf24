/** What a client asks for: the fields of `POST /` and `POST /stream`. Browser-safe. */
import { z } from "zod";
import { previewDecoder, previewPlan, previewSource } from "../protocol/messages.ts";
import { generationParams, lora } from "../protocol/params.ts";

export { MAX_SEED } from "../protocol/params.ts";

export const OUTPUT_FORMATS = ["jpeg", "png", "webp", "avif"] as const;

export const DEFAULT_NEGATIVE_PROMPT = "blurry, low quality";

/** More than the 600 tokens that are read of a prompt. */
const MAX_PROMPT_LENGTH = 5_000;
/** SDXL's smaller text encoder has 12 layers: 11 leaves its token embeddings, and beyond it there is nothing to take. */
const MAX_CLIP_SKIP = 11;
/** Of one request, in the field and in the prompts together. */
export const MAX_LORAS = 8;
const MAX_NAME_LENGTH = 300;
const SIDE_MULTIPLE = 8;

/** NUL and lone surrogates cannot be tokenized, stored or sent on as UTF-8. */
const text = z.string().regex(/^[^\0\p{Surrogate}]*$/u, "must be well-formed text without NUL characters");

const { shape: params } = generationParams;

// Not derived: a second lower bound would report a side below both of them twice.
const side = z.int().min(64).max(2048).multipleOf(SIDE_MULTIPLE);

/** Of a data URI only the limit of the whole body counts. */
const imageAddress = z.string().min(1).nullish();

export const previewOptions = z.object({
  every: previewPlan.shape.every.max(50).default(5).describe("A preview after steps 0, every, 2 × every, …"),
  max_per_second: z.number().min(0.1).max(60).optional().describe("At most this many previews a second."),
  max_side: z
    .int()
    .min(64)
    .max(2048)
    .optional()
    .describe("Longest side of a preview in pixels; the image's own size if absent."),
  quality: previewPlan.shape.quality.default(70).describe("JPEG quality of previews."),
  // Not a default of the schema: only a client that asks for `tae` itself is warned when there is none.
  decoder: previewDecoder.optional().meta({
    default: "tae",
    description:
      "`tae` decodes with the tiny autoencoder; `linear` is nearly free and coarse, and used where no tiny autoencoder is loaded.",
  }),
  source: previewSource.default("x0").describe("`x0` shows the predicted image, `latents` the noisy state itself."),
});

/** What is common to every request shape; sizes, steps and guidance fall back to the model's own defaults. */
export const generateInput = z.object({
  prompt: text.min(1).max(MAX_PROMPT_LENGTH).describe("What the image shows."),
  negative_prompt: text
    .max(MAX_PROMPT_LENGTH)
    .default(DEFAULT_NEGATIVE_PROMPT)
    .describe("What the image should not show."),
  prompt_syntax: params.prompt_syntax.default("weighted"),
  num_inference_steps: params.num_inference_steps
    .max(50)
    .optional()
    .describe("Denoising steps; the model's own default if absent (SDXL 20)."),
  width: side.optional().describe("Pixels, a multiple of 8; the model's native size if absent."),
  height: side.optional().describe("Pixels, a multiple of 8; the model's native size if absent."),
  seed: params.seed.nullish().describe("Same seed, same image; random if absent or null."),
  guidance_scale: params.guidance_scale
    .max(20)
    .optional()
    .describe("How strictly the prompt is followed; the model's own default if absent (SDXL 5)."),
  num_images: params.num_images.max(4).default(1).describe("Image i uses seed + i."),
  output_format: z.enum(OUTPUT_FORMATS).default("jpeg").describe("Format of the final image."),
  scheduler: params.scheduler.unwrap().optional().describe("Sampler; the model's own if absent."),
  clip_skip: params.clip_skip
    .unwrap()
    .max(MAX_CLIP_SKIP)
    .nullish()
    .describe("Layers of the text encoders left out for the prompt, as diffusers counts them; none if absent or null."),
  image_url: imageAddress.describe(
    "The image to start from: a data URI, or the address of a file that was uploaded to this server. Other addresses only where the server fetches them.",
  ),
  mask_url: imageAddress.describe("White where the image is to change; all of it if absent. Needs `image_url`."),
  strength: params.strength
    .unwrap()
    .nullish()
    .describe(
      "How much of the image is drawn anew: the last `strength` of the steps run. 0.95 if absent; only with `image_url`.",
    ),
  loras: z
    .array(
      z.object({
        path: text
          .min(1)
          .max(MAX_NAME_LENGTH)
          .describe(lora.shape.path.description ?? ""),
        scale: lora.shape.scale.default(1),
      }),
    )
    .max(MAX_LORAS)
    .default([])
    .describe("LoRAs of this server, applied in this order; those in prompts, `<lora:name:scale>`, follow."),
  model: text
    .min(1)
    .max(MAX_NAME_LENGTH)
    .nullish()
    .describe("One of this server's models; `GET /v1/models` lists them. The first if absent."),
  sync_mode: z
    .boolean()
    .default(true)
    .describe("`true` puts the image into the response as a data URI, `false` gives an http URL of this server."),
  preview: z
    .union([z.literal(false), previewOptions])
    .prefault({})
    .describe("`false` for none, or how previews are made."),
});

export type GenerateInput = z.input<typeof generateInput>;
export type ParsedInput = z.output<typeof generateInput>;
export type OutputFormat = (typeof OUTPUT_FORMATS)[number];
