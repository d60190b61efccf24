/** What a client asks for: the fields of `POST /` and `POST /stream`. Browser-safe. */
import { z } from "zod";
import { PREVIEW_DECODERS, PREVIEW_SOURCES, SCHEDULERS } from "../protocol/messages.ts";

export const OUTPUT_FORMATS = ["jpeg", "png", "webp", "avif"] as const;
export const MAX_SEED = 2 ** 32 - 1;

/** 5,000 code units hold any prompt that fits the 77 tokens SDXL reads many times over. */
const MAX_PROMPT_LENGTH = 5_000;
const SIDE_MULTIPLE = 8;

/** NUL and lone surrogates cannot be tokenized, stored or sent on as UTF-8. */
const text = z.string().regex(/^[^\0\p{Surrogate}]*$/u, "must be well-formed text without NUL characters");

const side = z.int().min(64).max(2048).multipleOf(SIDE_MULTIPLE);

export const previewOptions = z.object({
  every: z.int().min(1).max(50).default(5).describe("A preview after steps 0, every, 2 × every, …"),
  max_per_second: z.number().min(0.1).max(60).optional().describe("At most this many previews a second."),
  max_side: z
    .int()
    .min(64)
    .max(2048)
    .optional()
    .describe("Longest side of a preview in pixels; the picture's own size if absent."),
  quality: z.int().min(1).max(100).default(70).describe("JPEG quality of previews."),
  decoder: z
    .enum(PREVIEW_DECODERS)
    .default("tae")
    .describe("`tae` decodes with the tiny autoencoder; `linear` is nearly free and coarse."),
  source: z
    .enum(PREVIEW_SOURCES)
    .default("x0")
    .describe("`x0` shows the predicted picture, `latents` the noisy state itself."),
});

/** What is common to every request shape; sizes, steps and guidance fall back to the model's own defaults. */
export const generateInput = z.object({
  prompt: text.min(1).max(MAX_PROMPT_LENGTH).describe("What the picture shows."),
  negative_prompt: text.max(MAX_PROMPT_LENGTH).default("blurry, low quality").describe("What it should not show."),
  num_inference_steps: z
    .int()
    .min(1)
    .max(50)
    .optional()
    .describe("Denoising steps; the model's own default if absent (SDXL 20)."),
  width: side.optional().describe("Pixels, a multiple of 8; the model's native size if absent."),
  height: side.optional().describe("Pixels, a multiple of 8; the model's native size if absent."),
  seed: z.int().min(0).max(MAX_SEED).nullish().describe("Same seed, same picture; random if absent or null."),
  guidance_scale: z
    .number()
    .min(0)
    .max(20)
    .optional()
    .describe("How strictly the prompt is followed; the model's own default if absent (SDXL 5)."),
  num_images: z.int().min(1).max(4).default(1).describe("Image i uses seed + i."),
  output_format: z.enum(OUTPUT_FORMATS).default("jpeg").describe("Format of the final picture."),
  scheduler: z.enum(SCHEDULERS).optional().describe("Sampler; the model's own if absent."),
  sync_mode: z
    .boolean()
    .default(true)
    .describe("`true` puts the picture into the answer as a data URI, `false` gives an http URL of this server."),
  preview: z
    .union([z.literal(false), previewOptions])
    .prefault({})
    .describe("`false` for none, or how previews are made."),
});

export type GenerateInput = z.input<typeof generateInput>;
export type ParsedInput = z.output<typeof generateInput>;
export type OutputFormat = (typeof OUTPUT_FORMATS)[number];
