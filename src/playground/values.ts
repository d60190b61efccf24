/** The values of the form: as text by field name, in the page's address, and as a request. */
import type { GenerateInput } from "../client/index.ts";
import { limitsOf } from "./limits.ts";
import { toLoraInput } from "./loras.ts";
import type { Model } from "./service.ts";

/** Fields whose values make the picture what it is. A link carries all of them, whatever the defaults are where it is opened. */
const PICTURE_FIELDS = [
  "prompt",
  "negative_prompt",
  // Empty where the server has one model.
  "model",
  "num_inference_steps",
  "width",
  "height",
  "guidance_scale",
  "scheduler",
  "seed",
  // The ids of the images in input-store.ts; empty without one.
  "image",
  "mask",
  "strength",
  "loras",
] as const;

/** The rest, in a link only where they differ from the default. `runs` is the page's own: requests at once, each with its seed. */
const OTHER_FIELDS = [
  "num_images",
  "output_format",
  "preview.every",
  "preview.max_side",
  "preview.decoder",
  "preview.source",
  "runs",
] as const;

export const FIELD_NAMES = [...PICTURE_FIELDS, ...OTHER_FIELDS] as const;
export type FieldName = (typeof FIELD_NAMES)[number];

/** Empty text leaves a field to the server. */
export type Values = Readonly<Record<FieldName, string>>;

export const NO_VALUES = Object.fromEntries(FIELD_NAMES.map((name) => [name, ""])) as Values;

/** Fields that the request does not have by these names. */
export function isOwnField(name: FieldName): boolean {
  return name === "runs" || name === "image" || name === "mask" || name === "loras";
}

/** Without an image there is no mask and no strength, whatever the form says. */
function counts(name: FieldName, values: Values): boolean {
  return values.image !== "" || (name !== "mask" && name !== "strength");
}

const TEXT_FIELDS = new Set<FieldName>([
  "prompt",
  "negative_prompt",
  "model",
  "output_format",
  "scheduler",
  "preview.decoder",
  "preview.source",
]);

/** Enough previews to watch a picture form; each one costs the device some time. */
const PREVIEWS_PER_PICTURE = 10;

/** Of the schema, and of the model once it is known. */
export function defaultValues(model: Model | undefined): Values {
  const fallbacks = Object.fromEntries(
    FIELD_NAMES.map((name) => [name, name === "runs" ? "1" : isOwnField(name) ? "" : limitsOf(name).fallback]),
  ) as Record<FieldName, string>;
  if (model === undefined) return fallbacks;
  return {
    ...fallbacks,
    num_inference_steps: String(model.defaultSteps),
    width: String(model.nativeWidth),
    height: String(model.nativeHeight),
    guidance_scale: String(model.defaultGuidanceScale),
    "preview.every": String(Math.max(1, Math.round(model.defaultSteps / PREVIEWS_PER_PICTURE))),
  };
}

export function readParameters(parameters: URLSearchParams): Partial<Values> {
  const given = FIELD_NAMES.filter((name) => parameters.has(name));
  return Object.fromEntries(given.map((name) => [name, parameters.get(name)]));
}

export function toParameters(values: Values, defaults: Values): URLSearchParams {
  const parameters = new URLSearchParams();
  for (const name of PICTURE_FIELDS)
    if (values[name] !== "" && counts(name, values)) parameters.set(name, values[name]);
  // Empty is a choice here: nothing is kept out of the picture.
  if (values.prompt !== "") parameters.set("negative_prompt", values.negative_prompt);
  for (const name of OTHER_FIELDS)
    if (values[name] !== "" && values[name] !== defaults[name]) parameters.set(name, values[name]);
  return parameters;
}

/** The request without its images, with what was typed as it is: the server says what is wrong with it. */
export function toInput(values: Values): GenerateInput {
  const input: Record<string, unknown> = { prompt: values.prompt, negative_prompt: values.negative_prompt };
  const preview: Record<string, unknown> = {};
  for (const name of FIELD_NAMES) {
    const value = values[name];
    if (value === "" || isOwnField(name) || !counts(name, values)) continue;
    const typed = TEXT_FIELDS.has(name) || !Number.isFinite(Number(value)) ? value : Number(value);
    if (name.startsWith("preview.")) preview[name.slice("preview.".length)] = typed;
    else input[name] = typed;
  }
  const loras = values.loras === "" ? {} : { loras: toLoraInput(values.loras) };
  return { ...input, ...loras, preview } as GenerateInput;
}

/** Seeds are counted modulo this. */
const SEEDS = 2 ** 32;

export function randomSeed(): string {
  return String(crypto.getRandomValues(new Uint32Array(1))[0]);
}

/** The seed `distance` after that of these values; what is no number stays as it is, for the server to judge. */
export function laterSeed(values: Values, distance: number): string {
  const seed = Number(values.seed);
  return distance === 0 || !Number.isInteger(seed) ? values.seed : String((seed + distance) % SEEDS);
}

/** The values that make picture `index` of several again, alone. */
export function valuesOfPicture(values: Values, index: number): Values {
  return { ...values, seed: laterSeed(values, index), num_images: "1", runs: "1" };
}

/** @param unknown Fields that are not compared. */
export function makeSamePicture(one: Values, other: Values, unknown: readonly FieldName[] = []): boolean {
  return [...PICTURE_FIELDS, "output_format" as const].every(
    (name) => unknown.includes(name) || one[name] === other[name] || !(counts(name, one) || counts(name, other)),
  );
}
