/** The LoRAs of a request: those of its field, then those in its prompts. */
import type { ModelInfo } from "../protocol/messages.ts";
import type { Lora } from "../protocol/params.ts";
import { MAX_LORAS, type ParsedInput } from "../schema/input.ts";
import { readLoraTags } from "../schema/lora-tags.ts";
import type { FieldProblem } from "../schema/parse.ts";

export interface RequestLoras {
  /** The prompts without tags. */
  readonly prompts: { readonly prompt: string; readonly negative_prompt: string };
  readonly loras: readonly Lora[];
  readonly problems: readonly FieldProblem[];
  readonly warnings: readonly string[];
}

export function requestLoras(input: ParsedInput, { takes_loras: takesLoras }: ModelInfo): RequestLoras {
  const isPlain = input.prompt_syntax === "plain";
  const found = (["prompt", "negative_prompt"] as const).map((field) => {
    const tagged = isPlain ? { text: input[field], loras: [], wrong: [] } : readLoraTags(input[field]);
    return { field, ...tagged };
  });
  const [prompt = "", negativePrompt = ""] = found.map(({ text }) => text);
  const prompts = { prompt, negative_prompt: negativePrompt };
  const asked = [...input.loras, ...found.flatMap(({ loras }) => loras)];
  const problems = found.flatMap(({ field, wrong }) => wrong.map((tag) => wrongTag(field, tag)));
  if (takesLoras) return { prompts, loras: asked, problems: [...problems, ...tooMany(asked)], warnings: [] };
  const warnings = asked.length === 0 ? [] : ["loras was ignored: this server has no LoRAs"];
  return { prompts, loras: [], problems, warnings };
}

function wrongTag(field: string, tag: string): FieldProblem {
  return { loc: ["body", field], msg: `${tag} is not <lora:name:scale>`, type: "value_error" };
}

function tooMany({ length }: readonly Lora[]): FieldProblem[] {
  if (length <= MAX_LORAS) return [];
  return [{ loc: ["body", "loras"], msg: `${length} LoRAs are more than ${MAX_LORAS}`, type: "too_big" }];
}
