/** What every command is given and gives back. */
import type { FlagTable, Arguments } from "./arguments.ts";
import type { Terminal } from "./terminal.ts";

/** How a command ended; the process entry turns it into an exit code. */
export type CommandResult = "done" | "failed" | "interrupted";

export interface CommandContext {
  readonly args: Arguments;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly terminal: Terminal;
  /** Aborts on the first signal: finish what was accepted, start nothing new. */
  readonly signal: AbortSignal;
}

export interface CliCommand {
  /** The arguments after the command's name. */
  readonly usage: string;
  readonly flags: FlagTable;
  /** Paragraphs below the flags. */
  readonly notes?: readonly string[];
  /** How many arguments without a flag it takes. */
  readonly positionals: number;
  run(context: CommandContext): Promise<CommandResult>;
}
