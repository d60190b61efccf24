/** From OpenAI's names to ours. */
import { z } from "zod";
import { generateInput, type ParsedInput } from "../../schema/input.ts";
import type { Parsed } from "../../schema/parse.ts";
import { MAX_N, type CommonInput } from "./schema.ts";

/** Partials of PNG requests: at most 1 MB of base64, of which node clients take a tenth of a second; one of 2.7 MB takes half. */
const MAX_PNG_PARTIAL_SIDE = 512;
/** JPEG quality of partials that nobody said a quality for. */
const PARTIAL_QUALITY = 80;
/** Of those that are encoded once more. */
const SOURCE_QUALITY = 90;

/** The dialect's own schema has checked the fields. Its limits are wider: more images, and variations have an empty prompt. */
const asGenerateInput = generateInput.extend({ prompt: z.string(), num_images: z.int().min(1).max(MAX_N) });

export interface Asked {
  readonly prompt: string;
  readonly strength?: number | null | undefined;
  /** What is to be said beside the images. */
  readonly warnings: readonly string[];
}

export function inputFromOpenai(fields: CommonInput, { prompt, strength, warnings }: Asked): Parsed<ParsedInput> {
  const size = toSize(fields);
  if (!size.ok) return size;
  const input = asGenerateInput.parse({
    prompt,
    negative_prompt: fields.negative_prompt,
    num_inference_steps: fields.steps ?? fields.num_inference_steps ?? fields.step,
    guidance_scale: fields.guidance_scale ?? fields.cfg_scale ?? fields.cfg,
    num_images: fields.n,
    scheduler: fields.scheduler,
    seed: fields.seed,
    output_format: fields.output_format,
    sync_mode: !wantsUrl(fields),
    preview: toPreview(fields),
    strength,
    ...size.sides,
  });
  return { ok: true, input, warnings };
}

/** A stream has no field for addresses. */
function wantsUrl({ stream, response_format: format, model = "" }: CommonInput): boolean {
  if (stream) return false;
  return format === undefined ? model.startsWith("dall-e") : format === "url";
}

/** How often is decided when the number of steps is known. */
function toPreview({ stream, partial_images: partials, output_format: format, output_compression }: CommonInput) {
  if (!stream || partials === 0) return false;
  if (format === "png") return { max_side: MAX_PNG_PARTIAL_SIDE, quality: SOURCE_QUALITY };
  if (format === "webp") return { quality: SOURCE_QUALITY };
  return { quality: Math.max(1, output_compression ?? PARTIAL_QUALITY) };
}

type Refused = Extract<Parsed<ParsedInput>, { ok: false }>;
type Size =
  | { readonly ok: true; readonly sides: { readonly width?: number | undefined; readonly height?: number | undefined } }
  | Refused;

function toSize({ size = "auto", width, height }: CommonInput): Size {
  if (size === "auto") return { ok: true, sides: { width, height } };
  const [asWidth, asHeight] = size.split("x").map(Number);
  const differs = (width ?? asWidth) !== asWidth || (height ?? asHeight) !== asHeight;
  if (differs) return sizeProblem(`is ${size}, but width and height say otherwise`);
  const sides = { width: asWidth, height: asHeight };
  const { width: widthRule, height: heightRule } = generateInput.shape;
  const wrong = [widthRule.safeParse(asWidth), heightRule.safeParse(asHeight)].find(({ success }) => !success);
  return wrong === undefined ? { ok: true, sides } : sizeProblem(`${size}: sides are 64 to 2048, in multiples of 8`);
}

function sizeProblem(msg: string): Refused {
  return { ok: false, problems: [{ loc: ["body", "size"], msg, type: "invalid_size" }] };
}
