/** The shape of fal's model `fal-ai/fast-sdxl`. Browser-safe. */
import { z } from "zod";
import { generateInput, OUTPUT_FORMATS } from "../../schema/input.ts";
import { image } from "../../schema/output.ts";

export const IMAGE_SIZES = {
  square_hd: [1024, 1024],
  square: [512, 512],
  portrait_4_3: [768, 1024],
  portrait_16_9: [576, 1024],
  landscape_4_3: [1024, 768],
  landscape_16_9: [1024, 576],
} as const satisfies Record<string, readonly [width: number, height: number]>;

const side = z.int().min(1).max(14_142).default(512);
const presets = ["square_hd", "square", "portrait_4_3", "portrait_16_9", "landscape_4_3", "landscape_16_9"] as const;

/** Accepted so that programs written for fal run; what they ask for does not exist here. */
const ignored = (what: string): z.ZodOptional<z.ZodUnknown> => z.unknown().optional().describe(`Ignored: ${what}.`);

export const fastSdxlInput = z.object({
  prompt: generateInput.shape.prompt,
  negative_prompt: generateInput.shape.negative_prompt.unwrap().default(""),
  image_size: z
    .union([z.enum(presets), z.object({ width: side, height: side })])
    .optional()
    .describe("`square_hd` if absent. Scaled down, with a warning, where the model cannot make images as large."),
  num_inference_steps: z.int().min(1).max(50).default(25),
  guidance_scale: z.number().min(0).max(20).default(7.5),
  num_images: z.int().min(1).max(8).default(1),
  seed: z.int().min(0).nullish().describe("Random if absent. Taken modulo 2^32."),
  format: z.enum(OUTPUT_FORMATS).default("jpeg"),
  output_format: z.enum(OUTPUT_FORMATS).optional().describe("Another name for `format`, which it overrides."),
  sync_mode: z.boolean().default(false).describe("`true` puts the images into the response as data URIs."),
  preview: generateInput.shape.preview,
  loras: generateInput.shape.loras,
  embeddings: ignored("no embeddings are loaded"),
  image_url: generateInput.shape.image_url,
  mask_url: generateInput.shape.mask_url,
  strength: generateInput.shape.strength,
  model: generateInput.shape.model,
  model_name: generateInput.shape.model.describe("Another name for `model`, which wins."),
  enable_safety_checker: ignored("there is no safety checker"),
  safety_checker_version: ignored("there is no safety checker"),
  expand_prompt: ignored("the prompt is used as it is"),
  request_id: ignored("every request has its id in the header x-fal-request-id"),
});

const imageAddress = z.string().min(1);

/** Of `…/image-to-image`, which needs an image. */
export const imageToImageInput = fastSdxlInput.extend({ image_url: imageAddress });

/** Of `…/inpainting`, which needs a mask too. */
export const inpaintingInput = imageToImageInput.extend({ mask_url: imageAddress });

/** The same under our names. What differs from our own limits is spelled out; everything else is checked by them. */
export const asGenerateInput = generateInput.extend({
  width: z.int().min(1).max(14_142).optional(),
  height: z.int().min(1).max(14_142).optional(),
  num_images: z.int().min(1).max(8),
});

export const fastSdxlResult = z.object({
  images: z.array(image),
  timings: z.object({ inference: z.number().describe("Seconds.") }),
  seed: z.int(),
  has_nsfw_concepts: z.array(z.boolean()).describe("Always false: there is no safety checker."),
  prompt: z.string(),
  warnings: z.array(z.string()),
});

export type FastSdxlInput = z.output<typeof fastSdxlInput>;
export type FastSdxlResult = z.infer<typeof fastSdxlResult>;
