/** The shape of `fal-ai/fast-sdxl`: programs written for that model find its fields, sizes and defaults here. */
import { inlineImage, type Served } from "../../storage/published-images.ts";
import type { ModelInfo } from "../../protocol/messages.ts";
import {
  asGenerateInput,
  fastSdxlInput,
  imageToImageInput,
  inpaintingInput,
  IMAGE_SIZES,
  type FastSdxlInput,
  type FastSdxlResult,
} from "./schema.ts";
import { MAX_SEED, type ParsedInput } from "../../schema/input.ts";
import { parseObject, type Parsed } from "../../schema/parse.ts";
import { readWith, type QueueDialect } from "../dialect.ts";
import { falErrorResponse, falFrame } from "../fal-error.ts";
import { fitSize } from "../fit-size.ts";
import { withNumbers } from "../numbers.ts";
import { responseKindByPath, toSeconds } from "../latentcast/dialect.ts";
import { fastSdxlOperation, fastSdxlStreamOperation } from "./operations.ts";

const DEFAULT_SIDE = 1_024;

/** Fields that fal's own variants of this model take as text, such as `num_inference_steps: "4"`. */
const NUMBERS = ["num_inference_steps", "guidance_scale", "num_images", "seed", "strength"];

/** Ignored fields that change the image on fal: a warning names each that was sent. */
const CONSEQUENTIAL = ["embeddings"] as const;

export const fastSdxlDialect: QueueDialect = {
  name: "fast-sdxl",
  routes: [
    { path: "/fal-ai/fast-sdxl", responseKind: () => "result", operation: fastSdxlOperation },
    { path: "/fal-ai/fast-sdxl/stream", responseKind: () => "events", operation: fastSdxlStreamOperation },
    { path: "/fal-ai/:alias", responseKind: () => "result" },
    { path: "/fal-ai/:alias/*", responseKind: responseKindByPath },
  ],
  // Programs that ask for a model of fal's read this shape, whichever model it is: LiteLLM takes `images[0]` for all of them.
  prefixes: ["/fal-ai"],
  read: (request) => readWith(fastSdxlDialect, request),
  parse: (body, path) => {
    const parsed = parseInput(withNumbers(body, NUMBERS), path);
    if (!parsed.ok) return parsed;
    const input = toInput(parsed.input);
    return {
      ok: true,
      input,
      warnings: [...ignoredWarnings(parsed.input), ...seedWarnings(parsed.input), ...parsed.warnings],
    };
  },
  fit: (input, model) => fitSize(withDefaultSize(input, model), model),
  preview: ({ step, totalSteps, images }, job) => ({
    images: images.map(inlineImage),
    seed: job.seed,
    preview: { step, total_steps: totalSteps, progress: (step + 1) / totalSteps },
  }),
  result: ({ seed, prompt, timings, warnings }, _job, images): Served<FastSdxlResult> => ({
    images: [...images],
    timings: { inference: toSeconds(timings.inferenceMs) },
    seed,
    has_nsfw_concepts: images.map(() => false),
    prompt,
    warnings: [...warnings],
  }),
  error: falErrorResponse,
  frame: falFrame,
};

/** Variants of the model have names below its own. */
function parseInput(body: unknown, path: string): Parsed<FastSdxlInput> {
  switch (/\/(image-to-image|inpainting)(\/stream)?\/?$/.exec(path)?.[1]) {
    case "image-to-image":
      return parseObject(imageToImageInput, body);
    case "inpainting":
      return parseObject(inpaintingInput, body);
    default:
      return parseObject(fastSdxlInput, body);
  }
}

function toInput({ image_size: size, seed, ...input }: FastSdxlInput): ParsedInput {
  const [width, height] = typeof size === "string" ? IMAGE_SIZES[size] : [size?.width, size?.height];
  return asGenerateInput.parse({
    prompt: input.prompt,
    negative_prompt: input.negative_prompt,
    prompt_syntax: "weighted",
    num_inference_steps: input.num_inference_steps,
    guidance_scale: input.guidance_scale,
    num_images: input.num_images,
    output_format: input.output_format ?? input.format,
    sync_mode: input.sync_mode,
    preview: input.preview,
    image_url: input.image_url,
    mask_url: input.mask_url,
    strength: input.strength,
    loras: input.loras,
    model: input.model ?? input.model_name,
    seed: typeof seed === "number" ? seed % (MAX_SEED + 1) : null,
    ...(width === undefined || height === undefined ? {} : { width, height }),
  });
}

function ignoredWarnings(input: FastSdxlInput): string[] {
  const given = CONSEQUENTIAL.filter((name) => {
    const value = input[name];
    return value !== undefined && value !== null && !(Array.isArray(value) && value.length === 0);
  });
  return given.map((name) => `${name} was ignored: only the model's own weights are loaded`);
}

function seedWarnings({ seed }: FastSdxlInput): string[] {
  return typeof seed === "number" && seed > MAX_SEED ? [`seed was taken modulo ${MAX_SEED + 1}`] : [];
}

/** fal's own default where the model can make it. */
function withDefaultSize(input: ParsedInput, { min_side: min, max_side: max, ...model }: ModelInfo): ParsedInput {
  if (input.width !== undefined && input.height !== undefined) return input;
  const canDoDefault = min <= DEFAULT_SIDE && DEFAULT_SIDE <= max;
  const [width, height] = canDoDefault ? [DEFAULT_SIDE, DEFAULT_SIDE] : [model.native_width, model.native_height];
  return { ...input, width, height };
}
