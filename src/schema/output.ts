/** What a client gets back: previews, the result, errors. Browser-safe. */
import { z } from "zod";

export const image = z.object({
  url: z.string().describe("A data URI, or an http URL of this server."),
  content_type: z.string(),
  width: z.int(),
  height: z.int(),
});

/** One image is `image`, several are `images`, in previews and result alike. */
const imageFields = { image: image.optional(), images: z.array(image).optional() };

export const previewEvent = z.object({
  ...imageFields,
  seed: z.int(),
  preview: z.object({
    step: z.int().describe("Counts from 0."),
    total_steps: z.int(),
    progress: z.number().min(0).max(1),
  }),
});

export const timings = z.object({
  queue: z.number().describe("Seconds from acceptance to the first step."),
  inference: z.number().describe("Seconds from the first step to the finished image."),
  first_preview: z.number().nullable().describe("Seconds from acceptance to the first preview; null without previews."),
});

export const generateResult = z.object({
  ...imageFields,
  seed: z.int(),
  prompt: z.string(),
  timings,
  warnings: z.array(z.string()),
});

export const fieldProblem = z.object({ loc: z.array(z.string()), msg: z.string(), type: z.string() });

export const errorBody = z.object({
  detail: z.union([z.string(), z.array(fieldProblem)]),
  message: z.string(),
  error_type: z.string(),
});

/** The last event of a stream that failed after its headers were sent; the connection is then destroyed. */
export const streamError = errorBody.extend({ error: z.string() });

export type Image = z.infer<typeof image>;
export type PreviewEvent = z.infer<typeof previewEvent>;
export type GenerateResult = z.infer<typeof generateResult>;
export type ErrorBody = z.infer<typeof errorBody>;
