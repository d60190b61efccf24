/** What the web UI's users write into prompts beside words. LoRAs, weights and `BREAK` are read in every dialect. */
import { readLoraTags } from "../../schema/lora-tags.ts";

export interface ReadPrompt {
  readonly text: string;
  readonly warnings: readonly string[];
}

/** Of a request; what is beyond is beyond the tokens that are read, too. */
const MAX_PROMPT_LENGTH = 5_000;
/** A prompt may name hundreds. */
const MAX_NAMED = 5;
const MAX_NAME_LENGTH = 64;

const NETWORK = /<(lora|lyco|hypernet):([^:<>]*)(?::[^<>]*)?>/gi;
const BRACKETS = /\[([^[\]]*)\]/g;
const COMPOSITION = /\bAND\b/;

/** @param field Named in the warnings. */
export function readPrompt(field: string, prompt: string): ReadPrompt {
  const ignored = [...prompt.matchAll(NETWORK)].filter(([tag]) => !isLora(tag));
  const names = ignored.map(([, , name = ""]) => name.trim().slice(0, MAX_NAME_LENGTH));
  const words = names.length === 0 ? prompt : withoutIgnored(prompt);
  const text = cut(words);
  return {
    text,
    warnings: [
      ...networkWarnings(names),
      ...(text === words ? [] : [`${field} was cut after ${text.length} characters`]),
      ...(isEdited(text) ? [`${field}: words that change on the way ([a:b:0.5], [a|b]) are read as text`] : []),
      ...(COMPOSITION.test(text) ? [`${field}: AND is read as text; prompts are not composed`] : []),
    ],
  };
}

function isLora(tag: string): boolean {
  return readLoraTags(tag).loras.length === 1;
}

function withoutIgnored(prompt: string): string {
  const kept = prompt.replaceAll(NETWORK, (tag) => (isLora(tag) ? tag : ""));
  return kept.replaceAll(/ {2,}/g, " ").trim();
}

function networkWarnings(names: readonly string[]): string[] {
  const warnings = names
    .slice(0, MAX_NAMED)
    .map((name) => `the network ${JSON.stringify(name)} was ignored: it is not here`);
  const rest = names.length - warnings.length;
  return rest > 0 ? [...warnings, `${rest} more networks were ignored`] : warnings;
}

/** `[from:to:when]` and `[this|that]` change the words on the way. */
function isEdited(text: string): boolean {
  return [...text.matchAll(BRACKETS)].some(([, inside = ""]) => {
    const parts = inside.split(":");
    return inside.includes("|") || (parts.length > 2 && /^\s*\d*\.?\d+\s*$/.test(parts.at(-1) ?? ""));
  });
}

/** Not in the middle of a surrogate pair. */
function cut(text: string): string {
  if (text.length <= MAX_PROMPT_LENGTH) return text;
  return text.slice(0, MAX_PROMPT_LENGTH).replace(/[\ud800-\udbff]$/, "");
}
