/** One request in A1111's shape, from the loaded model's defaults to the response. */
import { convertPreview } from "../../images/encode.ts";
import type { JobPreview, JobResult } from "../../jobs/events.ts";
import type { Job } from "../../jobs/job.ts";
import type { Fitted } from "../../jobs/submission.ts";
import type { ModelInfo } from "../../protocol/messages.ts";
import { leastStrength } from "../../protocol/params.ts";
import { Base64 } from "../../schema/base64.ts";
import type { ParsedInput } from "../../schema/input.ts";
import type { Exchange } from "../dialect.ts";
import { fitSize } from "../fit-size.ts";
import { findCheckpoint } from "./checkpoint.ts";
import { infoOf, type Drawn } from "./info.ts";
import type { Img2imgInput, Txt2imgInput } from "./schema.ts";

/** What is written as JSON. */
interface ImagesBody {
  readonly images: readonly Base64[];
  readonly parameters: object;
  readonly info: string;
}

type Fit = Pick<Drawn, "width" | "height" | "steps" | "guidance" | "scheduler" | "model" | "strength" | "clipSkip"> & {
  readonly warnings: readonly string[];
};

/** A request that ends before a model has taken it. */
const UNFITTED: Fit = {
  width: 0,
  height: 0,
  steps: 0,
  guidance: 0,
  scheduler: null,
  model: "",
  strength: undefined,
  clipSkip: null,
  warnings: [],
};

export class A1111Exchange implements Exchange {
  readonly label: string | undefined;
  readonly #fields: Light<Txt2imgInput> | Light<Img2imgInput>;
  #fit = UNFITTED;

  constructor(fields: Txt2imgInput | Img2imgInput) {
    this.#fields = light(fields);
    this.label = fields.force_task_id;
  }

  /** Throws `not_found` for a checkpoint that is not here. */
  chooseModel(names: readonly string[], preferred: string | undefined): string | undefined {
    const { sd_model_checkpoint: checkpoint } = this.#fields.override_settings;
    if (typeof checkpoint !== "string" || checkpoint === "") return preferred;
    return findCheckpoint(checkpoint, names);
  }

  fit(input: ParsedInput, model: ModelInfo): Fitted {
    const { native_width: width, native_height: height } = model;
    const sized = fitSize({ ...input, width: input.width ?? width, height: input.height ?? height }, model, "size");
    const steps = input.num_inference_steps ?? model.default_steps;
    const strength = input.strength ?? undefined;
    const drawn = strength === undefined ? undefined : Math.max(strength, leastStrength(steps));
    const warnings = [
      ...sized.warnings,
      ...(drawn === strength ? [] : [`denoising_strength ${strength} was raised to ${drawn}, which runs one step`]),
    ];
    this.#fit = {
      width: sized.input.width ?? width,
      height: sized.input.height ?? height,
      steps,
      guidance: input.guidance_scale ?? model.default_guidance_scale,
      scheduler: input.scheduler ?? model.default_scheduler,
      model: model.id,
      strength: drawn,
      clipSkip: input.clip_skip ?? null,
      warnings,
    };
    return { input: { ...sized.input, num_inference_steps: steps, strength: drawn }, warnings };
  }

  /** There are no streams: whoever wants to see the image so far asks for the progress. */
  preview(): undefined {
    return undefined;
  }

  result({ images, seed, warnings }: JobResult, job: Job): ImagesBody {
    const { send_images: isWanted } = this.#fields;
    const shown = isWanted ? images.map(({ bytes }) => new Base64(bytes)) : [];
    return this.#body(shown, { seed, images: images.length, warnings }, job);
  }

  /** As the web UI does: whoever interrupts has the image so far. Without one, there is none. */
  async interrupted(job: Job, preview: JobPreview | undefined): Promise<ImagesBody> {
    const { send_images: isWanted } = this.#fields;
    const shown = isWanted ? (preview?.images ?? []) : [];
    const images = await Promise.all(shown.map(async ({ bytes }) => new Base64(await convertPreview(bytes, "png"))));
    const when =
      preview === undefined ? "before its first step" : `after step ${preview.step + 1} of ${preview.totalSteps}`;
    const warnings = [...(job.submission.warnings ?? []), ...this.#fit.warnings, `interrupted ${when}`];
    return this.#body(images, { seed: job.seed, images: job.submission.input.num_images, warnings }, job);
  }

  frame(): never {
    throw new Error("A1111's API has no streams");
  }

  #body(
    images: readonly Base64[],
    made: Pick<Drawn, "seed" | "images" | "warnings">,
    { acceptedAtMs }: Job,
  ): ImagesBody {
    const { prompt, negative_prompt: negativePrompt } = this.#fields;
    const startedAt = new Date(Date.now() - performance.now() + acceptedAtMs);
    const info = { ...this.#fit, ...made, prompt, negativePrompt, startedAt };
    return { images, parameters: this.#parameters(made.seed), info: infoOf(info) };
  }

  /** What was asked, with what was filled in. */
  #parameters(seed: number): object {
    const { width, height, steps, guidance } = this.#fit;
    return { ...this.#fields, seed, width, height, steps, cfg_scale: guidance };
  }
}

/** What is kept of a request while it is drawn, and repeated in the response: no images, unless they are asked for, and no scripts. */
type Light<Fields> = Omit<Fields, "init_images" | "mask"> & {
  readonly init_images?: readonly string[] | null;
  readonly mask?: string | null | undefined;
};

function light(fields: Txt2imgInput | Img2imgInput): Light<Txt2imgInput> | Light<Img2imgInput> {
  const kept = { ...fields, alwayson_scripts: {} };
  return !("init_images" in kept) || kept.include_init_images ? kept : { ...kept, init_images: null, mask: null };
}
