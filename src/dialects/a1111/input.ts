/** From A1111's names to ours. Programs for it have lists and ranges of their own: values are brought into ours, with a warning. */
import { z } from "zod";
import type { InputSources } from "../../images/source.ts";
import { generateInput, MAX_SEED, type ParsedInput } from "../../schema/input.ts";
import { parseObject, type Parsed } from "../../schema/parse.ts";
import { readPrompt } from "./prompt.ts";
import { chooseSampler } from "./samplers.ts";
import { MAX_BATCHED_IMAGES, type Img2imgInput, type Txt2imgInput } from "./schema.ts";

/** Programs ask for the image so far every second or two. */
const PREVIEW = { every: 1, max_per_second: 4, quality: 80 };
const MAX_STEPS = 50;
const MAX_GUIDANCE = 20;
/** The web UI counts from the last layer, 1; SDXL takes the one before it, and diffusers counts what is left out from there. */
const NORMAL_CLIP_STOP = 2;
const MAX_SIDE = 14_142;
/** A body may name thousands of scripts or settings. */
const MAX_NAMED = 5;

const { shape: ours } = generateInput;

/** What differs from our own limits: an empty prompt, sizes that are fitted later, more images. */
const asGenerateInput = generateInput.extend({
  prompt: ours.negative_prompt.unwrap(),
  width: z.int().min(1).max(MAX_SIDE).optional(),
  height: z.int().min(1).max(MAX_SIDE).optional(),
  num_images: z.int().min(1).max(MAX_BATCHED_IMAGES),
});

/**
 * @param warnings What is to be said beside the images.
 * @param strength Of a request that starts from an image.
 */
export function inputFromA1111(
  fields: Txt2imgInput,
  warnings: readonly string[],
  strength?: number,
): Parsed<ParsedInput> {
  const prompt = readPrompt("prompt", fields.prompt);
  const negative = readPrompt("negative_prompt", fields.negative_prompt);
  const sampler = chooseSampler(fields.sampler_name ?? fields.sampler_index, fields.scheduler);
  const steps = atMost("steps", fields.steps, MAX_STEPS);
  const guidance = atMost("cfg_scale", fields.cfg_scale, MAX_GUIDANCE);
  const parsed = parseObject(asGenerateInput, {
    prompt: prompt.text,
    negative_prompt: negative.text,
    num_inference_steps: steps.value,
    guidance_scale: guidance.value,
    num_images: fields.batch_size * fields.n_iter,
    seed: fields.seed === -1 ? null : wrapped(fields.seed),
    scheduler: sampler.scheduler,
    clip_skip: clipSkip(fields),
    output_format: "png",
    sync_mode: true,
    preview: PREVIEW,
    width: fields.width,
    height: fields.height,
    strength,
  });
  if (!parsed.ok) return parsed;
  const own = [prompt, negative, sampler, steps, guidance].flatMap((each) => each.warnings);
  return { ...parsed, warnings: [...own, ...unservedWarnings(fields), ...warnings] };
}

export function toInputs({
  init_images: [image = ""],
  mask,
  inpainting_mask_invert: isInverted,
}: Img2imgInput): InputSources {
  return {
    image: address(image),
    mask: mask === undefined || mask === "" ? null : address(mask),
    conventions: {
      maskMark: isOff(isInverted) ? "white" : "black",
      fields: { image: ["init_images"], mask: ["mask"] },
    },
  };
}

/** Switches come as booleans and as numbers. */
function isOff(value: boolean | number): boolean {
  return value === false || value === 0;
}

export function startWarnings(fields: Img2imgInput): string[] {
  const { init_images: images, mask, mask_blur: blur, inpainting_fill: fill, resize_mode: mode } = fields;
  const masked = mask === undefined || mask === "" ? [] : maskWarnings(blur, fill, fields.inpaint_full_res);
  return [
    ...(images.length > 1 ? [`of ${images.length} init_images only the first was used`] : []),
    ...(mode === undefined || mode === 0 ? [] : [`resize_mode ${mode} is not served: the image was stretched`]),
    ...masked,
  ];
}

/** The web UI fades a mask over four pixels by default, as we always do. */
const MASK_BLUR = 4;

function maskWarnings(blur: number = MASK_BLUR, fill = 1, wholeImage: boolean | number = false): string[] {
  return [
    ...(blur === MASK_BLUR ? [] : [`mask_blur ${blur} is not served: the inner edge fades over four pixels`]),
    ...(fill === 1 ? [] : [`inpainting_fill ${fill} is not served: drawing starts from the original`]),
    ...(isOff(wholeImage) ? [] : ["inpaint_full_res is not served: the whole image was drawn"]),
  ];
}

/** Base64, a data URI, or an address, which is looked up among this server's files. */
function address(image: string): string {
  return /^(data:|https?:)/i.test(image) ? image : `data:;base64,${image}`;
}

function atMost(name: string, value: number | undefined, most: number) {
  if (value === undefined || value <= most) return { value, warnings: [] };
  return { value: most, warnings: [`${name} ${value} was lowered to ${most}`] };
}

/** Seeds are 32 bits here, and may be negative in the web UI. */
function wrapped(seed: number): number {
  const size = MAX_SEED + 1;
  return ((seed % size) + size) % size;
}

function clipSkip({ clip_skip: stop, override_settings: settings }: Txt2imgInput): number | null {
  const layer = stop ?? settings.CLIP_stop_at_last_layers ?? NORMAL_CLIP_STOP;
  return layer > NORMAL_CLIP_STOP ? layer - NORMAL_CLIP_STOP : null;
}

const SWITCHES = ["enable_hr", "restore_faces", "tiling", "save_images"] as const;
/** Settings that are read, and those whose usual value asks for nothing. */
const SERVED_SETTINGS = /^(sd_model_checkpoint|CLIP_stop_at_last_layers|sd_vae|samples_format)$/;

function unservedWarnings(fields: Txt2imgInput): string[] {
  const scripts = Object.entries(fields.alwayson_scripts).flatMap(([name, script]) => (asks(script) ? [name] : []));
  const script = fields.script_name ?? "";
  const settings = Object.keys(fields.override_settings).filter((name) => !SERVED_SETTINGS.test(name));
  return [
    ...SWITCHES.filter((name) => fields[name]).map((name) => `${name} is not served and was ignored`),
    ...named("script", script === "" || script === "None" ? scripts : [script, ...scripts]),
    ...named("setting", settings),
    ...(fields.subseed_strength > 0 ? ["subseed_strength is not served and was ignored"] : []),
    ...(fields.styles.length > 0 ? ["styles were ignored: none are kept here"] : []),
    ...(fields.seed < -1 || fields.seed > MAX_SEED ? [`seed was taken modulo ${MAX_SEED + 1}`] : []),
  ];
}

/** Programs name a script that they know without arguments, or with `false`, to switch it off. */
function asks(script: unknown): boolean {
  const args: unknown = typeof script === "object" && script !== null && "args" in script ? script.args : script;
  return Array.isArray(args) ? args.some((arg) => arg !== false && arg !== null) : args !== null && args !== undefined;
}

function named(kind: string, names: readonly string[]): string[] {
  const shown = names.slice(0, MAX_NAMED).map((name) => `the ${kind} ${JSON.stringify(name.slice(0, 64))} was ignored`);
  return names.length > MAX_NAMED ? [...shown, `${names.length - MAX_NAMED} more ${kind}s were ignored`] : shown;
}
