/**
 * Models and LoRAs that draw in few steps: how each family is known by its name, and how it is sampled unless a request says
 * otherwise.
 *
 * They are defined here once: `src/jobs/few-step-loras.ts` goes by them for LoRAs, and for whole models
 * `python/latentcast_worker/few_step.py`, which is generated.
 */
import type { FewStepKind, GenerationParams } from "./params.ts";

export interface FewStepFamily {
  readonly kind: FewStepKind;
  /** Of the lower-case name of a file or a repository, in what regular expressions of Python and JavaScript have in common. */
  readonly name: RegExp;
  readonly scheduler: NonNullable<GenerationParams["scheduler"]>;
  readonly steps: number;
  readonly guidanceScale: number;
  /** Timesteps begin at the very end of the schedule: `trailing` ones, whatever the model's own are. */
  readonly isTrailing: boolean;
}

const HYPER = /(?<![a-z])hyper(?:[-_ ]?sd(?:xl)?)?(?![a-z])/;

/**
 * As their authors' model cards have them. The first that fits a name is its family: one with two in it, such as "lightning-lcm",
 * is a Lightning. `hyper` and the short ones must stand alone: hyperrealism is no family.
 */
export const FEW_STEP_FAMILIES: readonly FewStepFamily[] = [
  { kind: "lightning", name: /lightning/, scheduler: "euler", steps: 4, guidanceScale: 0, isTrailing: true },
  { kind: "dmd2", name: /dmd2/, scheduler: "lcm", steps: 4, guidanceScale: 0, isTrailing: false },
  { kind: "turbo", name: /turbo/, scheduler: "euler_a", steps: 4, guidanceScale: 0, isTrailing: true },
  { kind: "hyper", name: HYPER, scheduler: "ddim", steps: 8, guidanceScale: 0, isTrailing: true },
  { kind: "lcm", name: /(?<![a-z])lcm(?![a-z])/, scheduler: "lcm", steps: 4, guidanceScale: 1, isTrailing: false },
  { kind: "tcd", name: /(?<![a-z])tcd(?![a-z])/, scheduler: "tcd", steps: 4, guidanceScale: 0, isTrailing: false },
];

/** The steps that a name asks for, `8steps`. */
export const STEPS_IN_NAME = /(?<!\d)(\d{1,2})[-_ ]?steps?(?![a-z])/;
export const MOST_STEPS_IN_NAME = 50;

/** A Hyper-SD that is made for guidance says so in its name, and is made for this much. */
export const GUIDED_NAME = /(?<![a-z])cfg(?![a-z])/;
export const NAMED_GUIDANCE_SCALE = 5;
