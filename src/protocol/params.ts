/**
 * The parameters of one generation, resolved: every value that decides what an image looks like, under diffusers' names.
 *
 * They are defined here once and travel whole from the validated request to the UNet. The client's schema (`src/schema/input.ts`)
 * derives its fields from these; `python/latentcast_worker/protocol.py` is generated from them.
 */
import { z } from "zod";

export const MAX_SEED = 2 ** 32 - 1;
export const SCHEDULERS = ["euler", "euler_a", "dpmpp_2m", "dpmpp_2m_karras", "ddim", "unipc", "lcm", "tcd"] as const;

/** Ways in which models, and LoRAs for them, are distilled to few steps. */
export const FEW_STEP_KINDS = ["lightning", "hyper", "turbo", "dmd2", "lcm", "tcd"] as const;

export const fewStepKind = z.enum(FEW_STEP_KINDS);
export const schedulerName = z.enum(SCHEDULERS);

export const promptSyntax = z
  .enum(["weighted", "plain"])
  .describe(
    "`weighted` reads `(word:1.3)`, `[word]` and `BREAK`, and up to 600 tokens; `plain` takes the first 75 tokens as they are.",
  );

/** How strong a LoRA may be, in either direction. Beyond it images fall apart; the bound only keeps numbers finite. */
export const MAX_LORA_SCALE = 10;

export const lora = z
  .object({
    path: z.string().min(1).describe("Its name in the folder of LoRAs; `GET /loras` lists them."),
    scale: z.number().min(-MAX_LORA_SCALE).max(MAX_LORA_SCALE).describe("How strongly it is applied."),
  })
  .describe("A LoRA of this server.");

export const generationParams = z.object({
  prompt: z.string().describe("What the image shows."),
  negative_prompt: z.string().describe("What the image should not show."),
  prompt_syntax: promptSyntax,
  num_inference_steps: z.int().min(1).describe("Denoising steps."),
  width: z.int().min(8).describe("Pixels, a multiple of 8."),
  height: z.int().min(8).describe("Pixels, a multiple of 8."),
  seed: z.int().min(0).max(MAX_SEED).describe("Same seed, same image. Image i uses (seed + i) mod 2^32."),
  guidance_scale: z.number().min(0).describe("How strictly the prompt is followed; 1 or less is no guidance."),
  num_images: z.int().min(1).describe("Image i uses seed + i."),
  scheduler: schedulerName.nullable().describe("Sampler; the model's own if null."),
  clip_skip: z
    .int()
    .min(0)
    .nullable()
    .describe("Layers of the text encoders left out for the prompt, counted as diffusers does; null leaves out none."),
  strength: z
    .number()
    .min(0)
    .max(1)
    .nullable()
    .describe(
      "How much of the input image is drawn anew; null without one. Only the last `strength` of the steps run.",
    ),
  model: z.string().nullable().describe("One of the worker's models by its id; null is the first."),
  distillation: fewStepKind
    .nullable()
    .describe("Of a LoRA of the request that is made for few steps: its timesteps are used. null is the model's own."),
  loras: z.array(lora).describe("Added to the model's weights for this request, in this order."),
});

export type Lora = z.infer<typeof lora>;
export type FewStepKind = z.infer<typeof fewStepKind>;
export type GenerationParams = z.infer<typeof generationParams>;

/** The seed that makes image `index` of a request again as a request of its own. */
export function imageSeed(seed: number, index: number): number {
  return (seed + index) % (MAX_SEED + 1);
}

/**
 * Steps that will run, by diffusers' rule; what a worker reports when it starts is the truth. Doubles are the same on both sides:
 * 50 steps at 0.58 are 28.
 */
export function executedSteps({
  num_inference_steps: steps,
  strength,
}: Pick<GenerationParams, "num_inference_steps" | "strength">): number {
  return strength === null ? steps : Math.min(Math.floor(steps * strength), steps);
}

/** The smallest strength, in thousandths, that runs one of `steps` steps. Rounded up: 49 × (1 / 49) is less than 1. */
export function leastStrength(steps: number): number {
  return Math.ceil(1_000 / steps) / 1_000;
}

/** Pixels of one image of a request. */
export function imagePixelsOf({ width, height }: GenerationParams): number {
  return width * height;
}

/** Pixels of all images of a request together. */
export function pixelsOf(params: GenerationParams): number {
  return imagePixelsOf(params) * params.num_images;
}
