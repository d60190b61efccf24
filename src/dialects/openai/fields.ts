/** Reads the fields of a request alike from JSON and from forms, whose numbers and booleans are text. */
import { MultipartForm } from "../form.ts";

/** Parts of a form that are files. Clients call one image `image` and a list `image[]`, some also a list of one. */
export const IMAGE_PARTS = ["image", "image[]"] as const;
export const MASK_PART = "mask";

const NUMBERS: ReadonlySet<string> = new Set([
  ...["n", "output_compression", "partial_images", "seed", "steps", "num_inference_steps", "step"],
  ...["guidance_scale", "cfg_scale", "cfg", "width", "height", "strength"],
]);
/** Python's programs write theirs with a capital. */
const BOOLEANS: Readonly<Record<string, boolean>> = { true: true, false: false, "1": true, "0": false };

/** Turns numbers and booleans that are text into values, and leaves out `null`, which some programs send for every absent field. */
export function typedFields(body: unknown): unknown {
  const fields = body instanceof MultipartForm ? body.fieldsBeside(...IMAGE_PARTS, MASK_PART) : body;
  if (typeof fields !== "object" || fields === null || Array.isArray(fields)) return fields;
  const entries = Object.entries(fields).flatMap(([name, value]: [string, unknown]) =>
    value === null ? [] : [[name, typeof value === "string" ? readText(name, value) : value]],
  );
  return Object.fromEntries(entries);
}

function readText(name: string, text: string): unknown {
  if (NUMBERS.has(name) && /^-?\d+(\.\d+)?$/.test(text)) return Number(text);
  return name === "stream" ? (BOOLEANS[text.toLowerCase()] ?? text) : text;
}

/** Whether events are asked for; anything but a boolean is refused when the fields are checked. */
export function wantsStream(body: unknown): boolean {
  const fields = typedFields(body);
  return typeof fields === "object" && fields !== null && "stream" in fields && fields.stream === true;
}
