/** The shape of `POST /` and `POST /stream`: one image is `image`, several are `images`. */
import { inlineImage, type Served, type ServedImage } from "../../storage/published-images.ts";
import { generateInput } from "../../schema/input.ts";
import type { GenerateResult, PreviewEvent } from "../../schema/output.ts";
import { parseObject } from "../../schema/parse.ts";
import { readWith, type DialectRequest, type QueueDialect, type ResponseKind } from "../dialect.ts";
import { falErrorResponse, falFrame } from "../fal-error.ts";
import { generateOperation, generateStreamOperation } from "./operations.ts";

export const latentcastDialect: QueueDialect = {
  name: "latentcast",
  prefixes: [],
  routes: [
    { path: "/", responseKind: () => "result", operation: generateOperation },
    { path: "/stream", responseKind: () => "events", operation: generateStreamOperation },
    { path: "/:owner/:alias", responseKind: () => "result" },
    // Sub paths are variants of a model; here there is one.
    { path: "/:owner/:alias/*", responseKind: responseKindByPath },
  ],
  read: (request) => readWith(latentcastDialect, request),
  parse: (body) => parseObject(generateInput, body),
  // A size that the model cannot make is refused, not changed.
  fit: (input) => ({ input, warnings: [] }),
  preview: ({ step, totalSteps, images }, job): Served<PreviewEvent> => ({
    ...imageOrImages(images.map(inlineImage)),
    seed: job.seed,
    preview: { step, total_steps: totalSteps, progress: (step + 1) / totalSteps },
  }),
  result: ({ seed, prompt, timings, warnings }, _job, images): Served<GenerateResult> => ({
    ...imageOrImages(images),
    seed,
    prompt,
    timings: {
      queue: toSeconds(timings.queueMs),
      inference: toSeconds(timings.inferenceMs),
      first_preview: timings.firstPreviewMs === null ? null : toSeconds(timings.firstPreviewMs),
    },
    warnings: [...warnings],
  }),
  error: falErrorResponse,
  frame: falFrame,
};

/** As fal's clients say it. */
export function responseKindByPath({ path }: DialectRequest): ResponseKind {
  return path.endsWith("/stream") ? "events" : "result";
}

function imageOrImages(images: readonly ServedImage[]): { image: ServedImage } | { images: ServedImage[] } {
  const [first, ...others] = images;
  if (first !== undefined && others.length === 0) return { image: first };
  return { images: [...images] };
}

/** Milliseconds to seconds, to the tenth of a millisecond. */
export function toSeconds(ms: number): number {
  return Math.round(ms * 10) / 10_000;
}
