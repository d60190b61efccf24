/** What made an image, as the text that is written into it. Enough to make it again. */
import type { GenerationParams } from "../protocol/params.ts";
import { toAsciiJson } from "../schema/ascii-json.ts";

/** JSON with the request's own field names. `seed` is the image's own, with which it is the only image of its request. */
export function describePicture(params: GenerationParams, seed: number, model: string): string {
  const { num_images: _images, ...made } = params;
  return toAsciiJson({ ...made, seed, model });
}
