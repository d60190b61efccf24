/** What made an image, as the text that is written into it. Enough to make it again. */
import type { GenerationParams } from "../protocol/params.ts";
import { toAsciiJson } from "../schema/ascii-json.ts";
import type { InputDigests } from "./inputs.ts";

export interface DescribedImage {
  readonly params: GenerationParams;
  readonly inputs: { readonly digests: InputDigests } | null;
}

/** JSON with the request's own field names. `seed` is the image's own, with which it is the only image of its request. */
export function describeImage({ params, inputs }: DescribedImage, seed: number, model: string): string {
  const { num_images: _images, strength, loras, model: _model, distillation, ...made } = params;
  return toAsciiJson({
    ...made,
    ...(loras.length === 0 ? {} : { loras }),
    ...(distillation === null ? {} : { distillation }),
    seed,
    model,
    ...(inputs === null ? {} : { strength, inputs: inputs.digests }),
  });
}
