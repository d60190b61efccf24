/** One request in OpenAI's shape, from the loaded model's defaults to the response. */
import { convertPreview } from "../../images/encode.ts";
import type { EncodedImage, JobResult, JobPreview } from "../../jobs/events.ts";
import type { Job } from "../../jobs/job.ts";
import type { Fitted } from "../../jobs/submission.ts";
import type { ModelInfo } from "../../protocol/messages.ts";
import { executedSteps, leastStrength } from "../../protocol/params.ts";
import { Base64 } from "../../schema/base64.ts";
import type { ParsedInput } from "../../schema/input.ts";
import { toAsciiJsonBytes } from "../../schema/json.ts";
import type { ServedImage } from "../../storage/published-images.ts";
import type { Exchange, DialectEvent } from "../dialect.ts";
import { openAiErrorBody } from "./error.ts";
import { planPartials } from "./partials.ts";
import type { CommonInput, ImageEvent, ImagesResponse } from "./schema.ts";

/** The start of the events' names. */
export type Subject = "image_generation" | "image_edit";

/** A body until it is turned into JSON: its images are still bytes. */
type Unwritten<Body> = Body extends readonly (infer Each)[]
  ? Unwritten<Each>[]
  : Body extends object
    ? { [Name in keyof Body]: Name extends "b64_json" ? Base64 : Unwritten<Body[Name]> }
    : Body;

/** Steps beside the model's default. */
const QUALITY_STEPS = { auto: 1, low: 0.5, medium: 1, standard: 1, high: 1.5, hd: 1.5 } as const;
const MAX_STEPS = 50;

const NO_USAGE = {
  total_tokens: 0,
  input_tokens: 0,
  output_tokens: 0,
  input_tokens_details: { text_tokens: 0, image_tokens: 0 },
};

export interface ExchangeOptions {
  readonly subject: Subject;
  /** Of images that start from one, where the request says none. */
  readonly defaultStrength?: number;
}

export class OpenaiExchange implements Exchange {
  readonly #fields: CommonInput;
  readonly #subject: Subject;
  readonly #defaultStrength: number | undefined;
  #model = "";
  /** The last step that was shown: a run that begins again, since its worker died, shows nothing twice. */
  #shown = -1;
  #partials = 0;

  constructor(fields: CommonInput, { subject, defaultStrength }: ExchangeOptions) {
    this.#fields = fields;
    this.#subject = subject;
    this.#defaultStrength = defaultStrength;
  }

  get outputQuality(): number | undefined {
    const { output_compression: quality } = this.#fields;
    return quality === undefined ? undefined : Math.max(1, quality);
  }

  /** Programs send names of OpenAI's models, for which the first is as good as any. */
  chooseModel(names: readonly string[]): string | undefined {
    const { model: asked } = this.#fields;
    return asked !== undefined && names.includes(asked) ? asked : undefined;
  }

  fit(input: ParsedInput, model: ModelInfo): Fitted {
    const { model: asked, quality, partial_images: partials } = this.#fields;
    this.#model = model.id;
    const byQuality = Math.min(MAX_STEPS, Math.max(1, Math.round(model.default_steps * QUALITY_STEPS[quality])));
    const steps = input.num_inference_steps ?? byQuality;
    const strength = input.strength ?? this.#strengthFor(steps);
    const { every } = planPartials(partials, executedSteps({ num_inference_steps: steps, strength }));
    const { preview } = input;
    return {
      input: {
        ...input,
        num_inference_steps: steps,
        strength,
        preview: preview === false ? false : { ...preview, every },
      },
      warnings: asked === undefined || asked === model.id ? [] : [`${asked} is not loaded: ${model.id} made the image`],
    };
  }

  async preview({ step, totalSteps, images }: JobPreview): Promise<Unwritten<ImageEvent>[] | undefined> {
    const { partial_images: partials, output_format: format } = this.#fields;
    if (step <= this.#shown || !planPartials(partials, totalSteps).steps.includes(step)) return undefined;
    this.#shown = step;
    const partial = this.#partials++;
    return Promise.all(
      images.map(async (image, index) => ({
        type: `${this.#subject}.partial_image` as const,
        b64_json: new Base64(await convertPreview(image.bytes, format, this.outputQuality)),
        partial_image_index: partial,
        ...this.#facts(image, index),
      })),
    );
  }

  result(
    result: JobResult,
    _job: Job,
    images: readonly ServedImage[],
  ): Unwritten<ImagesResponse> | Unwritten<ImageEvent>[] {
    const model = this.#model;
    const warnings = [...result.warnings];
    if (this.#fields.stream) {
      return result.images.map((image, index) => ({
        type: `${this.#subject}.completed` as const,
        b64_json: new Base64(image.bytes),
        ...this.#facts(image, index),
        usage: NO_USAGE,
        model,
        warnings,
      }));
    }
    return {
      created: seconds(),
      // Never both: some programs store the image twice then, others take the address and refuse to fetch it.
      data: result.images.map(({ bytes, seed }, index) => {
        const url = images[index]?.url;
        return typeof url === "string" ? { url, seed } : { b64_json: new Base64(bytes), seed };
      }),
      ...this.#made(result.images[0]),
      model,
      warnings,
    };
  }

  frame(event: DialectEvent): Buffer {
    if (event.kind === "error") return toAsciiJsonBytes(openAiErrorBody(event.error), "event: error\ndata: ", "\n\n");
    const events = Array.isArray(event.body) ? event.body : [event.body];
    return Buffer.concat(
      events.map((each: ImageEvent) => toAsciiJsonBytes(each, `event: ${each.type}\ndata: `, "\n\n")),
    );
  }

  /** Runs at least one step: a model whose default is one step would refuse every request that gives no strength. */
  #strengthFor(steps: number): number | null {
    return this.#defaultStrength === undefined ? null : Math.max(this.#defaultStrength, leastStrength(steps));
  }

  #facts(image: EncodedImage, index: number) {
    return { created_at: seconds(), ...this.#made(image), image_index: index, seed: image.seed };
  }

  #made(image: EncodedImage | undefined) {
    const { quality, output_format } = this.#fields;
    const size = `${image?.width ?? 0}x${image?.height ?? 0}`;
    return { size, quality, background: "opaque" as const, output_format };
  }
}

function seconds(): number {
  return Math.floor(Date.now() / 1_000);
}
