/** What the web UI says about finished images: `info`, and the text that it would write into their files. */
import { imageSeed } from "../../protocol/params.ts";
import { nameOf, type Scheduler } from "./samplers.ts";

/** Where the web UI has its version. */
const PROGRAM = "Latentcast";

export interface Drawn {
  readonly prompt: string;
  readonly negativePrompt: string;
  /** Of the first image; image i has seed + i. */
  readonly seed: number;
  readonly images: number;
  readonly width: number;
  readonly height: number;
  readonly steps: number;
  readonly guidance: number;
  /** Null for a model's own that has no name of ours. */
  readonly scheduler: Scheduler | null;
  readonly model: string;
  readonly strength: number | undefined;
  /** Null for the normal layer. */
  readonly clipSkip: number | null;
  readonly startedAt: Date;
  readonly warnings: readonly string[];
}

/** JSON as text: programs parse it once more. */
export function infoOf(drawn: Drawn): string {
  const { prompt, negativePrompt, seed, images, width, height, steps, guidance, model, warnings } = drawn;
  const seeds = Array.from({ length: images }, (_, index) => imageSeed(seed, index));
  const names = nameOf(drawn.scheduler);
  return JSON.stringify({
    prompt,
    all_prompts: seeds.map(() => prompt),
    negative_prompt: negativePrompt,
    all_negative_prompts: seeds.map(() => negativePrompt),
    seed,
    all_seeds: seeds,
    subseed: seed,
    all_subseeds: seeds,
    subseed_strength: 0,
    width,
    height,
    sampler_name: names.sampler,
    cfg_scale: guidance,
    steps,
    batch_size: images,
    restore_faces: false,
    face_restoration_model: null,
    sd_model_name: model,
    sd_model_hash: "",
    sd_vae_name: null,
    sd_vae_hash: null,
    seed_resize_from_w: -1,
    seed_resize_from_h: -1,
    denoising_strength: drawn.strength ?? null,
    extra_generation_params: { "Schedule type": names.schedule },
    index_of_first_image: 0,
    infotexts: seeds.map((each) => infotext(drawn, each)),
    styles: [],
    job_timestamp: timestamp(drawn.startedAt),
    clip_skip: clipStop(drawn),
    is_using_inpainting_conditioning: false,
    version: PROGRAM,
    warnings,
  });
}

function infotext(drawn: Drawn, seed: number): string {
  const { prompt, negativePrompt, steps, guidance, width, height, model, strength, clipSkip } = drawn;
  const { sampler, schedule } = nameOf(drawn.scheduler);
  const facts = [
    `Steps: ${steps}`,
    `Sampler: ${sampler}`,
    `Schedule type: ${schedule}`,
    `CFG scale: ${guidance}`,
    `Seed: ${seed}`,
    `Size: ${width}x${height}`,
    `Model: ${model}`,
    ...(strength === undefined ? [] : [`Denoising strength: ${strength}`]),
    ...(clipSkip === null ? [] : [`Clip skip: ${clipStop(drawn)}`]),
    `Version: ${PROGRAM}`,
  ];
  const negative = negativePrompt === "" ? [] : [`Negative prompt: ${negativePrompt}`];
  return [prompt, ...negative, facts.join(", ")].join("\n");
}

/** The web UI counts from the last layer. */
function clipStop({ clipSkip }: Drawn): number {
  return clipSkip === null ? 1 : clipSkip + 2;
}

/** `YYYYMMDDhhmmss`, where this server is. */
export function timestamp(date: Date): string {
  const parts = [date.getMonth() + 1, date.getDate(), date.getHours(), date.getMinutes(), date.getSeconds()];
  return [date.getFullYear(), ...parts.map((part) => String(part).padStart(2, "0"))].join("");
}
