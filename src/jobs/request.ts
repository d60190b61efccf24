/** From what a client asked to what a worker does: the model's defaults filled in, its limits applied, names turned camelCase. */
import { LatentcastError, type FieldProblem } from "../errors.ts";
import type { GenerateCommand, ModelInfo, PreviewPlan, Scheduler } from "../protocol/messages.ts";
import type { OutputFormat, ParsedInput } from "../schema/input.ts";
import { drawSeed } from "./submission.ts";

/** Everything that decides the picture, and how it is shown on the way. */
export interface JobRequest {
  readonly prompt: string;
  readonly negativePrompt: string;
  readonly steps: number;
  readonly width: number;
  readonly height: number;
  readonly seed: number;
  readonly guidanceScale: number;
  readonly numImages: number;
  readonly scheduler: Scheduler | null;
  readonly outputFormat: OutputFormat;
  readonly preview: PreviewPlan | null;
  readonly warnings: readonly string[];
  readonly traceparent: string | null;
}

export interface RequestLimits {
  readonly maxPixels: number;
}

/** Throws `invalid_request` naming every field that the loaded model or this server cannot serve. */
export function resolveRequest(
  input: ParsedInput,
  model: ModelInfo,
  limits: RequestLimits,
  extras: { readonly warnings?: readonly string[]; readonly traceparent?: string | null } = {},
): JobRequest {
  const width = input.width ?? model.native_width;
  const height = input.height ?? model.native_height;
  const problems = [
    ...sideProblems("width", width, model),
    ...sideProblems("height", height, model),
    ...pixelProblems(width * height * input.num_images, limits),
  ];
  if (problems.length > 0) throw invalidRequest(problems);
  return {
    prompt: input.prompt,
    negativePrompt: input.negative_prompt,
    steps: input.num_inference_steps ?? model.default_steps,
    width,
    height,
    seed: drawSeed(input).seed,
    guidanceScale: input.guidance_scale ?? model.default_guidance_scale,
    numImages: input.num_images,
    scheduler: input.scheduler ?? null,
    outputFormat: input.output_format,
    preview: input.preview === false ? null : previewPlan(input.preview),
    warnings: extras.warnings ?? [],
    traceparent: extras.traceparent ?? null,
  };
}

/** Wraps field problems into the one error clients see, with a text that names the fields. */
export function invalidRequest(fields: readonly FieldProblem[]): LatentcastError {
  const message = fields.map(({ loc, msg }) => `${loc.slice(1).join(".") || "body"}: ${msg}`).join("; ");
  return new LatentcastError("invalid_request", { fields, message });
}

export function toCommand(request: JobRequest, jobId: string, epoch: number): GenerateCommand {
  return {
    type: "generate",
    job_id: jobId,
    epoch,
    prompt: request.prompt,
    negative_prompt: request.negativePrompt,
    num_inference_steps: request.steps,
    width: request.width,
    height: request.height,
    seed: request.seed,
    guidance_scale: request.guidanceScale,
    num_images: request.numImages,
    scheduler: request.scheduler,
    preview: request.preview,
    traceparent: request.traceparent,
  };
}

export function imagePixelsOf({ width, height }: JobRequest): number {
  return width * height;
}

/** Of all images together. */
export function pixelsOf(request: JobRequest): number {
  return imagePixelsOf(request) * request.numImages;
}

function previewPlan(options: Exclude<ParsedInput["preview"], false>): PreviewPlan {
  return { ...options, max_per_second: options.max_per_second ?? null, max_side: options.max_side ?? null };
}

function sideProblems(field: "width" | "height", value: number, model: ModelInfo): FieldProblem[] {
  if (value >= model.min_side && value <= model.max_side) return [];
  const msg = `this model makes pictures of ${model.min_side} to ${model.max_side} pixels a side`;
  return [{ loc: ["body", field], msg, type: value < model.min_side ? "too_small" : "too_big" }];
}

function pixelProblems(pixels: number, { maxPixels }: RequestLimits): FieldProblem[] {
  if (pixels <= maxPixels) return [];
  const msg = `width × height × num_images is ${pixels} pixels; this server takes ${maxPixels}`;
  return [{ loc: ["body", "num_images"], msg, type: "too_big" }];
}
