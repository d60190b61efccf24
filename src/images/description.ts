/** What made a picture, as the text that is written into it. Enough to make it again. */
import { toAsciiJson } from "../schema/ascii-json.ts";

export interface PictureOrigin {
  readonly prompt: string;
  readonly negativePrompt: string;
  readonly steps: number;
  readonly width: number;
  readonly height: number;
  readonly guidanceScale: number;
  readonly scheduler: string | null;
}

/** JSON with the request's own field names. */
export function describePicture(origin: PictureOrigin, seed: number, model: string): string {
  return toAsciiJson({
    prompt: origin.prompt,
    negative_prompt: origin.negativePrompt,
    seed,
    num_inference_steps: origin.steps,
    width: origin.width,
    height: origin.height,
    guidance_scale: origin.guidanceScale,
    scheduler: origin.scheduler,
    model,
  });
}
