/** Reads requests that start from an image: edits, as a form or as JSON, and variations, as a form. */
import type { ImageSource, InputSources } from "../../images/source.ts";
import { parseObject, type FieldProblem, type Parsed } from "../../schema/parse.ts";
import type { DialectRequest, ReadRequest } from "../dialect.ts";
import { MultipartForm } from "../form.ts";
import { OpenaiExchange } from "./exchange.ts";
import { IMAGE_PARTS, MASK_PART, typedFields } from "./fields.ts";
import { inputFromOpenai } from "./input.ts";
import { editInput, editJsonInput, MAX_INPUT_IMAGES, variationInput, type EditInput } from "./schema.ts";

/** Applies inside of the mask only: what is outside is never changed. */
const MASKED_STRENGTH = 0.95;
/** Without a mask: `low` keeps the layout, `high` its colours too. */
const FIDELITY_STRENGTH = { low: 0.8, high: 0.6 } as const;
const VARIATION_STRENGTH = 0.6;

interface Images {
  readonly image: ImageSource;
  readonly mask: ImageSource | null;
  readonly fields: { readonly image: readonly string[]; readonly mask: readonly string[] };
  /** How many were sent beside the first. */
  readonly unused: number;
}

export function readEdit({ body }: DialectRequest): ReadRequest {
  return body instanceof MultipartForm ? readForm(body) : readJson(body);
}

export function readVariation({ body }: DialectRequest): ReadRequest {
  const [image, ...others] = body instanceof MultipartForm ? body.files(...IMAGE_PARTS) : [];
  const parsed = parseObject(variationInput, typedFields(body));
  if (image === undefined || others.length > 0) return refused(parsed, problem("image", "must be one file"));
  if (!parsed.ok) return parsed;
  const { strength, ...fields } = parsed.input;
  const common = { ...fields, stream: false, partial_images: 0 };
  const converted = inputFromOpenai(common, { prompt: "", strength, warnings: parsed.warnings });
  if (!converted.ok) return converted;
  const exchange = new OpenaiExchange(common, { subject: "image_edit", defaultStrength: VARIATION_STRENGTH });
  return { ...converted, exchange, inputs: toSources({ image, mask: null, fields: PARTS, unused: 0 }) };
}

function readForm(form: MultipartForm): ReadRequest {
  const [image, ...others] = form.files(...IMAGE_PARTS);
  const [mask = null, ...moreMasks] = form.files(MASK_PART);
  const parsed = parseObject(editInput, typedFields(form));
  if (image === undefined || others.length >= MAX_INPUT_IMAGES)
    return refused(parsed, problem("image", `must be 1 to ${MAX_INPUT_IMAGES} files`));
  if (moreMasks.length > 0) return refused(parsed, problem("mask", "must be one file"));
  if (!parsed.ok) return parsed;
  return edit(parsed.input, parsed.warnings, { image, mask, fields: PARTS, unused: others.length });
}

function readJson(body: unknown): ReadRequest {
  const parsed = parseObject(editJsonInput, typedFields(body));
  if (!parsed.ok) return parsed;
  // The exchange lives as long as the job and must not hold the images' texts.
  const { images, mask, ...fields } = parsed.input;
  const [first, ...others] = images;
  if (first === undefined) return refused(parsed, problem("images", "must name an image"));
  return edit(fields, parsed.warnings, {
    image: first.image_url,
    mask: mask?.image_url ?? null,
    fields: { image: ["images", "0", "image_url"], mask: ["mask", "image_url"] },
    unused: others.length,
  });
}

function edit(asked: EditInput, warnings: readonly string[], images: Images): ReadRequest {
  const { prompt, strength, input_fidelity: fidelity, ...fields } = asked;
  const unused = images.unused === 0 ? [] : [`only the first of ${images.unused + 1} images was used`];
  const converted = inputFromOpenai(fields, { prompt, strength, warnings: [...unused, ...warnings] });
  if (!converted.ok) return converted;
  const defaultStrength = images.mask === null ? FIDELITY_STRENGTH[fidelity] : MASKED_STRENGTH;
  const exchange = new OpenaiExchange(fields, { subject: "image_edit", defaultStrength });
  return { ...converted, exchange, inputs: toSources(images) };
}

const PARTS = { image: ["image"], mask: [MASK_PART] };

function toSources({ image, mask, fields }: Images): InputSources {
  return { image, mask, conventions: { maskMark: "transparent", fields } };
}

/** Puts the problem of the images first: OpenAI's errors name one field. */
function refused(parsed: Parsed<unknown>, first: FieldProblem): ReadRequest {
  return { ok: false, problems: [first, ...(parsed.ok ? [] : parsed.problems)] };
}

function problem(field: string, msg: string): FieldProblem {
  return { loc: ["body", field], msg, type: "invalid_images" };
}
