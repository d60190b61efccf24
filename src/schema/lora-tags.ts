/** `<lora:name:scale>` in prompts, as users of AUTOMATIC1111 write it. Browser-safe. */
import { lora, type Lora } from "../protocol/params.ts";

/** A name has neither colons nor angle brackets, so nothing else that people write is taken for a tag. */
const TAG = /<lora:([^<>:]+)(?::([^<>]*))?>/g;

export interface TaggedPrompt {
  /** Without its tags. */
  readonly text: string;
  readonly loras: readonly Lora[];
  /** Tags whose scale is not a number or out of range. */
  readonly wrong: readonly string[];
}

/** A tag without a scale has 1. */
export function readLoraTags(prompt: string): TaggedPrompt {
  const loras: Lora[] = [];
  const wrong: string[] = [];
  const text = prompt.replaceAll(TAG, (tag: string, name: string, scale: string | undefined) => {
    const read = lora.safeParse({ path: name.trim(), scale: scaleOf(scale) });
    if (read.success) loras.push(read.data);
    else wrong.push(tag);
    return "";
  });
  return { text, loras, wrong };
}

/** NaN, which no scale is, for a blank text: `Number` takes it for 0. */
function scaleOf(text: string | undefined): number {
  if (text === undefined) return 1;
  return text.trim() === "" ? Number.NaN : Number(text);
}
