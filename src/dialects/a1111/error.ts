/** Errors the way programs for the web UI read them: they show `detail`. */
import type { LatentcastError } from "../../errors.ts";
import type { ErrorResponse } from "../dialect.ts";
import type { A1111Error } from "./schema.ts";

/** Our names of what this API has other names for. */
const FIELD_NAMES: Readonly<Record<string, string>> = {
  num_inference_steps: "steps",
  guidance_scale: "cfg_scale",
  num_images: "batch_size",
  image_url: "init_images",
  mask_url: "mask",
  strength: "denoising_strength",
  scheduler: "sampler_name",
};

export function a1111ErrorResponse(error: LatentcastError): ErrorResponse {
  const { status, code, retryAfterSeconds: retryAfter } = error;
  return {
    status,
    headers: {
      ...(retryAfter === undefined ? {} : { "retry-after": String(retryAfter) }),
      ...(code === "unauthorized" ? { "www-authenticate": 'Basic realm="Latentcast", charset="UTF-8"' } : {}),
    },
    body: a1111ErrorBody(error),
  };
}

function a1111ErrorBody(error: LatentcastError): A1111Error {
  const problems = error.fields.map(({ loc, msg }) => `${fieldName(loc)}: ${msg}`);
  const detail = problems.length === 0 ? error.message : [...new Set(problems)].join("; ");
  return { error: error.code, detail, body: "", errors: detail };
}

function fieldName(loc: readonly string[]): string {
  const [first = "body", ...rest] = loc.slice(1);
  return [FIELD_NAMES[first] ?? first, ...rest].join(".");
}
