/** LoRAs that make a model draw in few steps: how each family is sampled, by the file's name. */
import type { FewStepKind, Lora } from "../protocol/params.ts";
import type { ParsedInput } from "../schema/input.ts";

/** What a request gets that does not say otherwise. */
export interface FewStepLora {
  readonly family: FewStepKind;
  readonly steps: number;
  readonly guidanceScale: number;
  readonly scheduler: NonNullable<ParsedInput["scheduler"]>;
  /** For the client: what was filled in, and what was asked for that it is not made for. */
  readonly warning: string;
}

type Defaults = Pick<FewStepLora, "steps" | "guidanceScale" | "scheduler">;

/** As their authors' model cards have them, and as `python/latentcast_worker/model/distillation.py` has whole models. */
const FAMILIES: Readonly<Record<FewStepKind, Defaults>> = {
  lightning: { scheduler: "euler", steps: 4, guidanceScale: 0 },
  dmd2: { scheduler: "lcm", steps: 4, guidanceScale: 0 },
  turbo: { scheduler: "euler_a", steps: 4, guidanceScale: 0 },
  hyper: { scheduler: "ddim", steps: 8, guidanceScale: 0 },
  lcm: { scheduler: "lcm", steps: 4, guidanceScale: 1 },
  tcd: { scheduler: "tcd", steps: 4, guidanceScale: 0 },
};

/** `hyper` and the short ones must stand alone: hyperrealism is no family. */
const NAMES: readonly (readonly [RegExp, FewStepKind])[] = [
  [/lightning/, "lightning"],
  [/dmd2/, "dmd2"],
  [/turbo/, "turbo"],
  [/(?<![a-z])hyper(?:[-_ ]?sd(?:xl)?)?(?![a-z])/, "hyper"],
  [/(?<![a-z])lcm(?![a-z])/, "lcm"],
  [/(?<![a-z])tcd(?![a-z])/, "tcd"],
];
const STEPS = /(?<!\d)(\d{1,2})[-_ ]?steps?(?![a-z])/;
const WITH_GUIDANCE = /(?<![a-z])cfg(?![a-z])/;
const GUIDANCE = 5;
const MOST_STEPS = 50;
/** Beyond it an image of a LoRA that needs no guidance burns out. */
const MOST_GUIDANCE = 2;

/** The first of these LoRAs that is one; undefined where none is. */
export function fewStepLora(loras: readonly Lora[], input: ParsedInput): FewStepLora | undefined {
  for (const { path, scale } of loras) {
    const name = path.slice(path.lastIndexOf("/") + 1).toLowerCase();
    const family = NAMES.find(([pattern]) => pattern.test(name))?.[1];
    if (family === undefined || scale <= 0) continue;
    const defaults = defaultsOf(family, name);
    return { family, ...defaults, warning: warningOf(path, family, defaults, input) };
  }
  return undefined;
}

function defaultsOf(family: FewStepKind, name: string): Defaults {
  const known = FAMILIES[family];
  const said = Number(STEPS.exec(name)?.[1] ?? 0);
  const steps = said >= 1 && said <= MOST_STEPS ? said : known.steps;
  const guidanceScale = family === "hyper" && WITH_GUIDANCE.test(name) ? GUIDANCE : known.guidanceScale;
  // Hyper-SD's LoRA for one step is trained for TCD.
  const scheduler = family === "hyper" && steps === 1 ? "tcd" : known.scheduler;
  return { steps, guidanceScale, scheduler };
}

function warningOf(path: string, family: FewStepKind, made: Defaults, input: ParsedInput): string {
  const guidance = made.guidanceScale <= 1 ? "no guidance" : `guidance ${made.guidanceScale}`;
  const steps = `${made.steps} step${made.steps === 1 ? "" : "s"}`;
  const asked = [
    ...(isFarOff(made, input) ? [`guidance_scale ${input.guidance_scale}`] : []),
    ...(input.scheduler === undefined || input.scheduler === made.scheduler ? [] : [`scheduler ${input.scheduler}`]),
  ];
  const but = asked.length === 0 ? "" : `; ${asked.join(" and ")} may spoil the image`;
  return `${path} is made for ${steps} with ${made.scheduler} and ${guidance} (${family}), its defaults here${but}`;
}

function isFarOff({ guidanceScale: made }: Defaults, { guidance_scale: asked }: ParsedInput): boolean {
  return asked !== undefined && made <= 1 && asked > MOST_GUIDANCE;
}
