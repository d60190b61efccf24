/** The shape of OpenAI's Images API, and the Stable Diffusion fields that programs send beside it. Browser-safe. */
import { z } from "zod";
import { generateInput } from "../../schema/input.ts";

export const QUALITIES = ["auto", "low", "medium", "high", "standard", "hd"] as const;
export const FORMATS = ["png", "jpeg", "webp"] as const;
export const MAX_N = 10;
export const MAX_PARTIALS = 3;
export const MAX_INPUT_IMAGES = 16;
/** 20 MiB, as OpenAI has it. */
const MAX_IMAGE_URL_LENGTH = 20_971_520;

const { shape: ours } = generateInput;

const steps = ours.num_inference_steps;
const guidance = ours.guidance_scale;
const sameAs = (name: string): string => `Another name of \`${name}\`.`;
/** Accepted so that programs written for OpenAI run; what they ask for does not exist here. */
const ignored = z.unknown().optional().describe("Ignored.");

/** Fields that all three ways of making images have. `null` counts as absent before this is applied. */
export const commonInput = z.object({
  model: z
    .string()
    .optional()
    .describe("One of `GET /v1/models`; the first of them makes the images for any other name, with a warning."),
  n: z.int().min(1).max(MAX_N).default(1).describe("Image i uses seed + i."),
  size: z
    .string()
    .regex(/^(auto|\d{1,5}x\d{1,5})$/, "must be `auto` or WIDTHxHEIGHT")
    .optional()
    .describe("`auto`, or `WIDTHxHEIGHT` in multiples of 8; the model's own size if absent."),
  quality: z.enum(QUALITIES).default("auto").describe("How many steps, unless they are given: see docs/openai.md."),
  response_format: z
    .enum(["b64_json", "url"])
    .optional()
    .describe(
      "`b64_json` if absent, but `url` for models whose name begins with `dall-e`. Streams carry base64 always.",
    ),
  output_format: z.enum(FORMATS).default("png"),
  output_compression: z.int().min(0).max(100).optional().describe("Quality of JPEG and WebP; 95 if absent."),
  background: z
    .string()
    .refine((value) => value !== "transparent", "images have no transparency here")
    .optional()
    .describe("Anything but `transparent`."),
  stream: z.boolean().default(false).describe("Server-Sent Events instead of one response."),
  partial_images: z.int().min(0).max(MAX_PARTIALS).default(0).describe("Images on the way, with `stream` only."),
  seed: ours.seed,
  negative_prompt: ours.negative_prompt,
  steps: steps,
  num_inference_steps: steps.describe(sameAs("steps")),
  step: steps.describe(sameAs("steps")),
  guidance_scale: guidance,
  cfg_scale: guidance.describe(sameAs("guidance_scale")),
  cfg: guidance.describe(sameAs("guidance_scale")),
  scheduler: ours.scheduler,
  width: ours.width.describe("With `height`, in place of `size`."),
  height: ours.height.describe("With `width`, in place of `size`."),
  moderation: ignored,
  style: ignored,
  user: ignored,
});

export const generationInput = z.object({ prompt: ours.prompt, ...commonInput.shape });

export const editInput = z.object({
  prompt: ours.prompt,
  ...commonInput.shape,
  strength: ours.strength.describe("How much is drawn anew, 0 to 1; only this part of the steps runs."),
  input_fidelity: z
    .enum(["high", "low"])
    .default("low")
    .describe("How much, where there is no `strength` and no mask."),
});

const imageReference = z.object({
  file_id: z
    .string()
    .refine(() => false, "no files are kept under ids here; send image_url")
    .nullish()
    .describe("Refused."),
  image_url: z
    .string()
    .min(1)
    .max(MAX_IMAGE_URL_LENGTH)
    .describe("A data URI, or the address of a file of this server."),
});

/** As JSON, where images are addresses. */
export const editJsonInput = z.object({
  images: z.array(imageReference).min(1).max(MAX_INPUT_IMAGES).describe("The first is edited."),
  mask: imageReference.optional().describe("What is transparent in it is drawn anew."),
  ...editInput.shape,
});

const file = z.string().meta({ format: "binary" });
const ignoredText = z.string().optional().describe("Ignored.");
/** JSON may have any type here. In a form it is text, and orval's clients do not compile with any other type. */
const ignoredTexts = { moderation: ignoredText, style: ignoredText, user: ignoredText };

/** As a form, whose images are files. For the document only: `editInput` checks what comes beside the files. */
export const editFormInput = z.object({
  image: z.array(file).min(1).max(MAX_INPUT_IMAGES).describe("Also as `image[]`. The first is edited."),
  mask: file.optional().describe("What is transparent in it is drawn anew; where nothing is, what is white."),
  ...editInput.shape,
  ...ignoredTexts,
});

export const variationInput = z.object({
  ...commonInput.omit({ stream: true, partial_images: true }).shape,
  strength: editInput.shape.strength,
});

/** For the document only. */
export const variationFormInput = z.object({ image: file, ...variationInput.shape, ...ignoredTexts });

const made = {
  size: z.string(),
  quality: z.enum(QUALITIES).describe("As asked."),
  background: z.literal("opaque"),
  output_format: z.enum(FORMATS),
};

export const openaiImage = z.object({
  b64_json: z.string().optional().describe("Base64 without a prefix."),
  url: z.string().optional().describe("In place of `b64_json`: an address of this server."),
  seed: z.int().describe("Makes this image again."),
});

export const imagesResponse = z.object({
  created: z.int().describe("Seconds since 1970."),
  data: z.array(openaiImage),
  ...made,
  model: z.string().describe("The model that is loaded."),
  warnings: z.array(z.string()).describe("What was asked and not done."),
});

const event = {
  b64_json: z.string(),
  created_at: z.int().describe("Seconds since 1970."),
  ...made,
  image_index: z.int().describe("Which of several images, from 0."),
  seed: z.int(),
};

export const partialEvent = z.object({
  type: z.enum(["image_generation.partial_image", "image_edit.partial_image"]),
  partial_image_index: z.int().describe("Counts from 0."),
  ...event,
});

export const completedEvent = z.object({
  type: z.enum(["image_generation.completed", "image_edit.completed"]),
  ...event,
  usage: z
    .object({
      total_tokens: z.int(),
      input_tokens: z.int(),
      output_tokens: z.int(),
      input_tokens_details: z.object({ text_tokens: z.int(), image_tokens: z.int() }),
    })
    .describe("Zeros: nothing is counted in tokens here."),
  model: z.string(),
  warnings: z.array(z.string()),
});

export const openaiError = z.object({
  error: z.object({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable().describe("The field that is wrong."),
    code: z.string().describe("One of the codes in docs/api.md."),
  }),
});

export const modelObject = z.object({
  id: z.string(),
  object: z.literal("model"),
  created: z.int(),
  owned_by: z.string(),
});

export const modelList = z.object({ object: z.literal("list"), data: z.array(modelObject) });

export type CommonInput = z.output<typeof commonInput>;
export type EditInput = z.output<typeof editInput>;
export type ImagesResponse = z.infer<typeof imagesResponse>;
export type ImageEvent = z.infer<typeof partialEvent> | z.infer<typeof completedEvent>;
export type OpenaiError = z.infer<typeof openaiError>;
export type ModelObject = z.infer<typeof modelObject>;
export type ModelList = z.infer<typeof modelList>;
