/** How a live picture is drawn: with few steps while things change, with all of them once they rest. */
import type { Values } from "../values.ts";

/** A draft of this length feels immediate; with the way there and back it is a third of a second. */
const DRAFT_MS = 200;
/** Before the first measurement. */
const FIRST_STEPS = 4;
/** Below this, most models show nothing. */
const MIN_STEPS = 2;
/** Of the newest measurement; what else the device does changes all the time. */
const WEIGHT = 0.3;

export class Drafts {
  /** By model. */
  readonly #stepMs = new Map<string, number>();

  /** @param values Of the draft. @param inferenceMs From its first step to the finished picture. */
  measured(values: Values, inferenceMs: number): void {
    const stepMs = inferenceMs / stepsToRun(values);
    const known = this.#stepMs.get(values.model) ?? stepMs;
    this.#stepMs.set(values.model, known + (stepMs - known) * WEIGHT);
  }

  /** Never more steps than the form says, and one picture. */
  of(values: Values): Values {
    const full = Number(values.num_inference_steps);
    const stepMs = this.#stepMs.get(values.model);
    const affordable = stepMs === undefined ? FIRST_STEPS : Math.floor(DRAFT_MS / stepMs);
    const wanted = Math.max(MIN_STEPS, affordable) / shareOf(values);
    // What is no number of steps is for the server to judge.
    const steps = full > 0 ? String(Math.min(full, Math.ceil(wanted))) : values.num_inference_steps;
    return { ...values, num_inference_steps: steps, num_images: "1", runs: "1", output_format: "jpeg" };
  }
}

export function stepsToRun(values: Values): number {
  return Math.max(1, Math.floor(Number(values.num_inference_steps) * shareOf(values)));
}

/** The part of the steps that runs. */
function shareOf({ image, strength }: Values): number {
  const share = image === "" || strength === "" ? 1 : Number(strength);
  return share > 0 && share <= 1 ? share : 1;
}
