/** The image that all parts of the cluster benchmark ask for, and what its times say. */
import { stream, type StreamTimes } from "../lib/stream-client.ts";

export const STEP_MS = 30;
export const STEPS = 20;
/** Small previews: nine processes share the cores here, and none of what is measured is encoding. */
export const BODY = {
  prompt: "a",
  num_inference_steps: STEPS,
  preview: { every: 1, max_per_second: 10, decoder: "linear" },
};

export function draw({ url }: { readonly url: string }): Promise<StreamTimes> {
  return stream(url, BODY);
}

export function firstPreview({ firstPreview: seen = Number.NaN, posted }: StreamTimes): number {
  return seen - posted;
}

/** First previews, in steps of the fast device. */
export function inSteps(times: readonly StreamTimes[]): number[] {
  return times.map((each) => (firstPreview(each) * 1_000) / STEP_MS);
}

export function meanSeconds(times: readonly StreamTimes[]): number {
  return times.reduce((sum, { posted, ended }) => sum + ended - posted, 0) / times.length;
}

/** The value that one in a hundred is above. */
export function p99(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.ceil(sorted.length * 0.99) - 1] ?? Number.NaN;
}
