/** A request on its way to become a job: the checked input and how it is to be treated. */
import { randomInt } from "node:crypto";
import type { InputImages } from "../images/inputs.ts";
import type { ModelInfo } from "../protocol/messages.ts";
import { MAX_SEED, type ParsedInput } from "../schema/input.ts";

export type Priority = "normal" | "low";

/** An input with its seed: it gives the same image each time. */
export type SeededInput = ParsedInput & { readonly seed: number };

export interface Fitted {
  readonly input: ParsedInput;
  readonly warnings: readonly string[];
}

export interface Submission {
  readonly input: ParsedInput;
  /** The images that `image_url` and `mask_url` name; absent for an image from text alone. */
  readonly inputs?: InputImages | undefined;
  /** Made when absent. */
  readonly id?: string | undefined;
  readonly priority?: Priority | undefined;
  /** Runs without listeners too, and is left for the next server when this one ends. */
  readonly keep?: boolean | undefined;
  /** Fails with `request_timeout` unless it has started this soon. */
  readonly startTimeoutMs?: number | undefined;
  /** Fails with `worker_unavailable` unless a model is loaded this soon; without it, it waits as long as it takes. */
  readonly modelTimeoutMs?: number | undefined;
  /** Processes that died with it before; from one on it runs alone. */
  readonly deaths?: number | undefined;
  readonly warnings?: readonly string[] | undefined;
  readonly traceparent?: string | null | undefined;
  /** Of the final JPEG, WebP or AVIF, 1 to 100; the server's own if absent. */
  readonly outputQuality?: number | undefined;
  /** Which of these names is asked for, by a dialect's own rules; undefined is the first. The input's `model` if absent. */
  readonly chooseModel?: ((names: readonly string[]) => string | undefined) | undefined;
  /** Adapts what was asked to the model, once one is loaded. */
  readonly fit?: ((input: ParsedInput, model: ModelInfo) => Fitted) | undefined;
}

/** The one place where a seed is drawn: at acceptance, so that a job that runs again gives the same image. */
export function drawSeed(input: ParsedInput): SeededInput {
  return { ...input, seed: input.seed ?? randomInt(MAX_SEED + 1) };
}
