/** From what a client asked to what a worker does: the model's defaults filled in, its limits applied. */
import { LatentcastError } from "../errors.ts";
import type { FieldProblem } from "../schema/parse.ts";
import type { InputImages } from "../images/inputs.ts";
import type { CommandFrames } from "../protocol/frames.ts";
import type { Capabilities, ModelInfo, PreviewPlan } from "../protocol/messages.ts";
import { executedSteps, leastStrength, pixelsOf, type GenerationParams } from "../protocol/params.ts";
import { DEFAULT_NEGATIVE_PROMPT, type OutputFormat, type ParsedInput } from "../schema/input.ts";
import { unknownPromptWarning } from "../schema/vocabulary.ts";
import { fewStepLora } from "./few-step-loras.ts";
import { requestLoras } from "./loras.ts";
import { drawSeed } from "./submission.ts";

export interface JobRequest {
  /** Everything that decides the image. */
  readonly params: GenerationParams;
  /** The images that it starts from. */
  readonly inputs: InputImages | null;
  readonly outputFormat: OutputFormat;
  /** 1 to 100; the encoder's own if absent. */
  readonly outputQuality?: number | undefined;
  readonly preview: PreviewPlan | null;
  readonly warnings: readonly string[];
  readonly traceparent: string | null;
}

/** What a request is resolved against: the loaded model and what its worker can do. */
export interface Serving {
  readonly model: ModelInfo;
  readonly capabilities: Pick<Capabilities, "preview_decoders">;
}

export interface RequestLimits {
  readonly maxPixels: number;
}

/** Of the steps, where an image is the start and nothing else was asked for; fal's default as well. */
const DEFAULT_STRENGTH = 0.95;

export interface RequestExtras {
  readonly inputs?: InputImages | undefined;
  readonly outputQuality?: number | undefined;
  readonly warnings?: readonly string[];
  readonly traceparent?: string | null;
}

/** Throws `invalid_request` naming every field that the loaded model or this server cannot serve. */
export function resolveRequest(
  input: ParsedInput,
  { model, capabilities }: Serving,
  limits: RequestLimits,
  { inputs, outputQuality, warnings = [], traceparent = null }: RequestExtras = {},
): JobRequest {
  const { prompts, loras, ...found } = requestLoras(input, model);
  const fewStep = fewStepLora(loras, input);
  const params: GenerationParams = {
    ...prompts,
    prompt_syntax: input.prompt_syntax,
    num_inference_steps: input.num_inference_steps ?? fewStep?.steps ?? model.default_steps,
    width: input.width ?? model.native_width,
    height: input.height ?? model.native_height,
    // An accepted request has its seed; one that is only looked at, to see whether it would begin at once, may have none.
    seed: drawSeed(input).seed,
    guidance_scale: input.guidance_scale ?? fewStep?.guidanceScale ?? model.default_guidance_scale,
    num_images: input.num_images,
    scheduler: input.scheduler ?? fewStep?.scheduler ?? null,
    clip_skip: input.clip_skip ?? null,
    strength: inputs === undefined ? null : (input.strength ?? DEFAULT_STRENGTH),
    model: model.id,
    // Its timesteps belong to its scheduler.
    distillation:
      fewStep !== undefined && (input.scheduler ?? fewStep.scheduler) === fewStep.scheduler ? fewStep.family : null,
    loras: [...loras],
  };
  const problems = [
    ...sideProblems("width", params.width, model),
    ...sideProblems("height", params.height, model),
    ...pixelProblems(pixelsOf(params), limits),
    ...strengthProblems(params),
    ...found.problems,
  ];
  if (problems.length > 0) throw invalidRequest(problems);
  const preview = input.preview === false ? null : previewPlan(input.preview, capabilities);
  return {
    params,
    inputs: inputs ?? null,
    outputFormat: input.output_format,
    outputQuality,
    preview,
    warnings: [
      ...warnings,
      ...found.warnings,
      ...(fewStep === undefined ? [] : [fewStep.warning]),
      ...negativePromptWarnings(params),
      ...strengthWarnings(input, inputs),
      ...previewWarnings(input.preview, preview),
      ...vocabularyWarnings(params.prompt, model),
    ],
    traceparent,
  };
}

/** Wraps field problems into the one error clients see, with a text that names the fields. */
export function invalidRequest(fields: readonly FieldProblem[]): LatentcastError {
  const message = fields.map(({ loc, msg }) => `${loc.slice(1).join(".") || "body"}: ${msg}`).join("; ");
  return new LatentcastError("invalid_request", { fields, message });
}

/** Its input images do not have the size of the job yet. */
export function isBeingFitted({ inputs }: JobRequest): boolean {
  return inputs !== null && inputs.frames === undefined;
}

/** The images of the request have to be fitted by now. */
export function toCommand(request: JobRequest, jobId: string, incarnation: number): CommandFrames {
  const { params, preview, traceparent } = request;
  const { width, height } = params;
  const inputs = {
    image: request.inputs === null ? null : { width, height },
    mask: request.inputs?.hasMask === true ? { width, height } : null,
  };
  return {
    command: { type: "generate", job_id: jobId, incarnation, params, inputs, preview, traceparent },
    payload: request.inputs?.frames ?? [],
  };
}

/** As in diffusers, a negative prompt needs guidance. The default one is not warned about. */
function negativePromptWarnings({ guidance_scale: scale, negative_prompt: text }: GenerationParams): string[] {
  const isUnused = scale <= 1 && text !== "" && text !== DEFAULT_NEGATIVE_PROMPT;
  return isUnused ? [`negative_prompt was ignored: it needs a guidance_scale above 1, not ${scale}`] : [];
}

type PreviewOptions = Exclude<ParsedInput["preview"], false>;

function vocabularyWarnings(prompt: string, { vocabulary }: ModelInfo): string[] {
  const warning = vocabulary === null ? undefined : unknownPromptWarning(prompt, vocabulary);
  return warning === undefined ? [] : [warning];
}

/** A model without a tiny decoder has linear previews, whatever was asked for. */
function previewPlan(options: PreviewOptions, { preview_decoders: available }: Serving["capabilities"]): PreviewPlan {
  const { decoder = "tae", max_per_second = null, max_side = null } = options;
  return { ...options, decoder: available.includes(decoder) ? decoder : "linear", max_per_second, max_side };
}

function previewWarnings(asked: ParsedInput["preview"], plan: PreviewPlan | null): string[] {
  if (asked === false || plan === null || asked.decoder === undefined || asked.decoder === plan.decoder) return [];
  return [`preview.decoder ${asked.decoder} is not available: no tiny decoder is loaded; previews are ${plan.decoder}`];
}

function sideProblems(field: "width" | "height", value: number, model: ModelInfo): FieldProblem[] {
  if (value >= model.min_side && value <= model.max_side) return [];
  const msg = `this model makes images of ${model.min_side} to ${model.max_side} pixels a side`;
  return [{ loc: ["body", field], msg, type: value < model.min_side ? "too_small" : "too_big" }];
}

function strengthProblems(params: GenerationParams): FieldProblem[] {
  if (executedSteps(params) > 0) return [];
  const { num_inference_steps: steps } = params;
  const msg = `runs none of ${steps} steps; at least ${leastStrength(steps)} is needed`;
  return [{ loc: ["body", "strength"], msg, type: "too_small" }];
}

function strengthWarnings({ strength }: ParsedInput, inputs: InputImages | undefined): string[] {
  const isIdle = inputs === undefined && strength !== undefined && strength !== null;
  return isIdle ? ["strength was ignored: there is no image_url"] : [];
}

function pixelProblems(pixels: number, { maxPixels }: RequestLimits): FieldProblem[] {
  if (pixels <= maxPixels) return [];
  const msg = `width × height × num_images is ${pixels} pixels; this server takes ${maxPixels}`;
  return [{ loc: ["body", "num_images"], msg, type: "too_big" }];
}
