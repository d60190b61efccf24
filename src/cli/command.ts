/** What every verb is given and gives back. */
import type { FlagTable, Arguments } from "./arguments.ts";
import type { Terminal } from "./terminal.ts";

/** How a verb ended; the process entry turns it into an exit code. */
export type Outcome = "done" | "failed" | "interrupted";

export interface VerbContext {
  readonly args: Arguments;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly terminal: Terminal;
  /** Aborts on the first signal: finish what was promised, start nothing new. */
  readonly signal: AbortSignal;
}

export interface Verb {
  /** The arguments after the verb. */
  readonly usage: string;
  readonly flags: FlagTable;
  /** Paragraphs below the flags. */
  readonly notes?: readonly string[];
  /** How many arguments that are no flags it takes. */
  readonly positionals: number;
  run(context: VerbContext): Promise<Outcome>;
}
