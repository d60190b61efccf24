/** A1111's samplers and schedules, and ours that are meant by them. */
import type { z } from "zod";
import type { schedulerName } from "../../protocol/params.ts";
import type { sampler, scheduler } from "./schema.ts";

export type Scheduler = z.infer<typeof schedulerName>;

interface Sampler {
  readonly name: string;
  readonly aliases: readonly string[];
  /** By schedule; `automatic` is the one that the web UI takes where none is named. */
  readonly schedules: Readonly<Partial<Record<Schedule, Scheduler>>>;
}

type Schedule = "automatic" | "uniform" | "karras";

const only = (ours: Scheduler): Sampler["schedules"] => ({ automatic: ours, uniform: ours });

const SAMPLERS: readonly Sampler[] = [
  { name: "Euler", aliases: ["k_euler"], schedules: only("euler") },
  { name: "Euler a", aliases: ["k_euler_a", "k_euler_ancestral"], schedules: only("euler_a") },
  {
    name: "DPM++ 2M",
    aliases: ["k_dpmpp_2m"],
    schedules: { automatic: "dpmpp_2m_karras", uniform: "dpmpp_2m", karras: "dpmpp_2m_karras" },
  },
  { name: "DDIM", aliases: [], schedules: only("ddim") },
  { name: "UniPC", aliases: [], schedules: only("unipc") },
  { name: "LCM", aliases: ["k_lcm"], schedules: only("lcm") },
  { name: "TCD", aliases: [], schedules: only("tcd") },
];

/** For programs with a list of their own: what comes closest to a sampler that is not here. First match counts. */
const NEAREST: readonly (readonly [RegExp, string])[] = [
  [/^dpm\+\+ 2s a|^dpm2 a|ancestral|^ddpm/, "Euler a"],
  [/^dpm(\+\+| fast| adaptive)|^deis/, "DPM++ 2M"],
  [/^(ddim|plms)/, "DDIM"],
  [/^i?pndm/, "UniPC"],
  [/^(lms|heun|dpm2|restart|euler)/, "Euler"],
];

const SCHEDULES: Readonly<Record<Schedule, string>> = { automatic: "Automatic", uniform: "Uniform", karras: "Karras" };

/** The web UI's other schedules, which older names of samplers end with too. */
const OTHER_SCHEDULES =
  /^(exponential|polyexponential|sgm uniform|sgm_uniform|kl optimal|kl_optimal|align your steps( gits)?|align_your_steps(_gits)?|simple|normal|ddim|ddim uniform|beta|turbo)$/;

export interface ChosenSampler {
  /** The model's own if undefined. */
  readonly scheduler: Scheduler | undefined;
  readonly warnings: readonly string[];
}

/** Never refuses: what is not served is replaced, with a warning. */
export function chooseSampler(name: string | undefined, schedule: string | undefined): ChosenSampler {
  if (name === undefined || name.trim() === "") {
    const known = schedule === undefined || schedule.trim() === "" || isAutomatic(schedule);
    return {
      scheduler: undefined,
      warnings: known ? [] : [`scheduler ${schedule} was ignored: it needs a sampler_name`],
    };
  }
  const asked = split(name.trim());
  const found = samplerNamed(asked.sampler) ?? samplerNamed(nearestTo(asked.sampler));
  if (found === undefined)
    return { scheduler: undefined, warnings: [`sampler ${name} is not known: the model's own was used`] };
  const chosen = chooseSchedule(found, asked.schedule ?? schedule ?? "automatic");
  const isReplaced = samplerNamed(asked.sampler) === undefined;
  const warnings = isReplaced ? [`sampler ${name} is not served: ${found.name} was used`] : [];
  return { scheduler: chosen.scheduler, warnings: [...warnings, ...chosen.warnings] };
}

function chooseSchedule({ name, schedules }: Sampler, asked: string): ChosenSampler {
  const schedule = asked.trim().toLowerCase();
  const served = Object.entries(schedules).find(([key]) => key === schedule)?.[1];
  if (served !== undefined) return { scheduler: served, warnings: [] };
  return {
    scheduler: schedules.automatic,
    warnings: [`scheduler ${asked} is not served with ${name}: its own was used`],
  };
}

/** `DPM++ 2M Karras` is how samplers were called before schedules had a field of their own. */
function split(name: string): { readonly sampler: string; readonly schedule?: string } {
  if (samplerNamed(name) !== undefined) return { sampler: name };
  const words = name.split(/\s+/);
  const at = words.findIndex((_, index) => index > 0 && isSchedule(words.slice(index).join(" ")));
  if (at < 0) return { sampler: name };
  return { sampler: words.slice(0, at).join(" "), schedule: words.slice(at).join(" ") };
}

function isSchedule(text: string): boolean {
  const name = text.toLowerCase();
  return Object.hasOwn(SCHEDULES, name) || OTHER_SCHEDULES.test(name);
}

function isAutomatic(schedule: string): boolean {
  return schedule.trim().toLowerCase() === "automatic";
}

function samplerNamed(name: string | undefined): Sampler | undefined {
  const asked = name?.toLowerCase();
  return SAMPLERS.find((each) => [each.name, ...each.aliases].some((known) => known.toLowerCase() === asked));
}

function nearestTo(name: string): string | undefined {
  return NEAREST.find(([pattern]) => pattern.test(name.toLowerCase()))?.[1];
}

/** How the web UI calls one of ours. */
export function nameOf(ours: Scheduler | null): { readonly sampler: string; readonly schedule: string } {
  for (const { name, schedules } of SAMPLERS) {
    const schedule = (["karras", "automatic", "uniform"] as const).find((each) => schedules[each] === ours);
    if (schedule !== undefined) return { sampler: name, schedule: SCHEDULES[schedule] };
  }
  return { sampler: "Euler", schedule: SCHEDULES.automatic };
}

export function listSamplers(): z.infer<typeof sampler>[] {
  return SAMPLERS.map(({ name, aliases, schedules }) => ({
    name,
    aliases: [...aliases],
    options: schedules.karras === undefined ? {} : { scheduler: "karras" },
  }));
}

export function listSchedulers(): z.infer<typeof scheduler>[] {
  return Object.entries(SCHEDULES).map(([name, label]) => ({
    name,
    label,
    aliases: null,
    default_rho: -1,
    need_inner_model: false,
  }));
}
