/** LoRAs that make a model draw in few steps: how each is sampled, by the file's name. */
import {
  FEW_STEP_FAMILIES,
  GUIDED_NAME,
  MOST_STEPS_IN_NAME,
  NAMED_GUIDANCE_SCALE,
  STEPS_IN_NAME,
  type FewStepFamily,
} from "../protocol/few-step.ts";
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

/** Beyond it an image of a LoRA that needs no guidance burns out. */
const MOST_GUIDANCE = 2;

/** The first of these LoRAs that is one; undefined where none is. */
export function fewStepLora(loras: readonly Lora[], input: ParsedInput): FewStepLora | undefined {
  for (const { path, scale } of loras) {
    const name = path.slice(path.lastIndexOf("/") + 1).toLowerCase();
    const family = FEW_STEP_FAMILIES.find((each) => each.name.test(name));
    if (family === undefined || scale <= 0) continue;
    const defaults = defaultsOf(family, name);
    return { family: family.kind, ...defaults, warning: warningOf(path, family, defaults, input) };
  }
  return undefined;
}

function defaultsOf(family: FewStepFamily, name: string): Defaults {
  const isHyper = family.kind === "hyper";
  const said = Number(STEPS_IN_NAME.exec(name)?.[1] ?? 0);
  const steps = said >= 1 && said <= MOST_STEPS_IN_NAME ? said : family.steps;
  const guidanceScale = isHyper && GUIDED_NAME.test(name) ? NAMED_GUIDANCE_SCALE : family.guidanceScale;
  // Hyper-SD's LoRA for one step is trained for TCD.
  const scheduler = isHyper && steps === 1 ? "tcd" : family.scheduler;
  return { steps, guidanceScale, scheduler };
}

function warningOf(path: string, { kind }: FewStepFamily, made: Defaults, input: ParsedInput): string {
  const guidance = made.guidanceScale <= 1 ? "no guidance" : `guidance ${made.guidanceScale}`;
  const steps = `${made.steps} step${made.steps === 1 ? "" : "s"}`;
  const asked = [
    ...(isFarOff(made, input) ? [`guidance_scale ${input.guidance_scale}`] : []),
    ...(input.scheduler === undefined || input.scheduler === made.scheduler ? [] : [`scheduler ${input.scheduler}`]),
  ];
  const but = asked.length === 0 ? "" : `; ${asked.join(" and ")} may spoil the image`;
  return `${path} is made for ${steps} with ${made.scheduler} and ${guidance} (${kind}), its defaults here${but}`;
}

function isFarOff({ guidanceScale: made }: Defaults, { guidance_scale: asked }: ParsedInput): boolean {
  return asked !== undefined && made <= 1 && asked > MOST_GUIDANCE;
}
