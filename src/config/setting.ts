/** One setting: where it is read from, and what its text means. */
import type { z } from "zod";

export interface Setting<Value> {
  /** Names of the environment variables, first wins. */
  readonly env: readonly string[];
  /** The flag without dashes; settings without one are set by variable only. */
  readonly flag?: string;
  /** The flag may be given several times; its values then come with line breaks between. */
  readonly isRepeatable?: true;
  readonly default: string;
  /** Shown in tables where the default depends on the machine. */
  readonly defaultText?: string;
  readonly value: z.ZodType<Value>;
  readonly help: string;
}

export function setting<Value>(definition: Setting<Value>): Setting<Value> {
  return definition;
}
