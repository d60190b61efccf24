/** The shape of `POST /` and `POST /stream`: one picture is `image`, several are `images`. */
import type { Picture } from "../jobs/events.ts";
import { generateInput } from "../schema/input.ts";
import type { GenerateResult, Image, PreviewEvent } from "../schema/output.ts";
import { parseObject } from "../schema/parse.ts";
import type { Dialect } from "./dialect.ts";

export const latentcastDialect: Dialect = {
  parse: (body) => parseObject(generateInput, body),
  preview: ({ step, totalSteps, pictures }, job): PreviewEvent => ({
    ...imageOrImages(pictures),
    seed: job.request.seed,
    preview: { step, total_steps: totalSteps, progress: (step + 1) / totalSteps },
  }),
  result: ({ pictures, seed, prompt, timings, warnings }): GenerateResult => ({
    ...imageOrImages(pictures),
    seed,
    prompt,
    timings: {
      queue: seconds(timings.queueMs),
      inference: seconds(timings.inferenceMs),
      first_preview: timings.firstPreviewMs === null ? null : seconds(timings.firstPreviewMs),
    },
    warnings: [...warnings],
  }),
};

function imageOrImages(pictures: readonly Picture[]): { image: Image } | { images: Image[] } {
  const [first, ...others] = pictures;
  if (first !== undefined && others.length === 0) return { image: inlineImage(first) };
  return { images: pictures.map(inlineImage) };
}

/** The picture as a data URI. */
export function inlineImage({ bytes, contentType, width, height }: Picture): Image {
  return { url: `data:${contentType};base64,${bytes.toString("base64")}`, content_type: contentType, width, height };
}

/** Milliseconds to seconds, to the tenth of a millisecond. */
export function seconds(ms: number): number {
  return Math.round(ms * 10) / 10_000;
}
