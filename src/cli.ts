/** The command line: finds the command, reads its arguments, and reports every failure in one line. */
import { readArguments, suggest, UsageError, type FlagTable } from "./cli/arguments.ts";
import { commandHelp, overallHelp } from "./cli/help.ts";
import type { Terminal } from "./cli/terminal.ts";
import type { CliCommand, CommandResult } from "./cli/command.ts";
import { ConfigError } from "./config.ts";
import { LatentcastError } from "./errors.ts";
import { packageVersion } from "./package-info.ts";
import { LaunchError } from "./worker/slot-failure.ts";

interface CommandEntry {
  readonly summary: string;
  load(): Promise<CliCommand>;
}

export interface CommandLine {
  /** What follows the program's name. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly terminal: Terminal;
  readonly signal: AbortSignal;
}

/** Loaded on use: `doctor` has to start where a native library that the others need does not load. */
const COMMANDS: Readonly<Record<string, CommandEntry>> = {
  serve: {
    summary: "Serve images over HTTP",
    load: async () => (await import("./cli/serve.ts")).serve,
  },
  generate: {
    summary: "Make one image or more and write them to files",
    load: async () => (await import("./cli/generate.ts")).generate,
  },
  setup: {
    summary: "Create or update the Python environment that workers run in",
    load: async () => (await import("./cli/setup.ts")).setup,
  },
  doctor: {
    summary: "Check Python, GPU, driver, weights and disk",
    load: async () => (await import("./cli/doctor.ts")).doctor,
  },
  cluster: {
    summary: "Prepare a fleet's NATS servers, or see how a fleet is",
    load: async () => (await import("./cli/cluster.ts")).cluster,
  },
};
const HELP_FLAG: FlagTable = { help: { short: "h", help: "This text." } };

/** Never rejects for what a user can cause; such a failure is one line on stderr. */
export async function runCommandLine(line: CommandLine): Promise<CommandResult | "misused"> {
  const { terminal, signal } = line;
  try {
    return await dispatch(line);
  } catch (error) {
    if (signal.aborted) {
      terminal.note("latentcast: interrupted");
      return "interrupted";
    }
    if (error instanceof UsageError || error instanceof ConfigError) {
      terminal.note(`latentcast: ${error.message}`);
      return "misused";
    }
    const text = failureText(error);
    if (text === null) throw error;
    terminal.note(`latentcast: ${text}`);
    return "failed";
  }
}

async function dispatch({ args, env, terminal, signal }: CommandLine): Promise<CommandResult> {
  const [name, ...rest] = args;
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    terminal.print(overallHelp(COMMANDS));
    return "done";
  }
  if (name === "--version" || name === "-V") {
    terminal.print(packageVersion());
    return "done";
  }
  const entry = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (entry === undefined) throw unknownCommand(name);
  const command = await entry.load();
  const parsed = readArguments(rest, { ...command.flags, ...HELP_FLAG });
  if (parsed.switches.has("help")) {
    terminal.print(
      commandHelp(`latentcast ${name} ${command.usage}`, entry.summary, {
        ...command,
        flags: { ...command.flags, ...HELP_FLAG },
      }),
    );
    return "done";
  }
  if (parsed.positionals.length > command.positionals) {
    const surplus = parsed.positionals[command.positionals] ?? "";
    throw new UsageError(`${name} does not take ${JSON.stringify(surplus)}; put quotes around text with spaces`);
  }
  return command.run({ args: parsed, env, terminal, signal });
}

function unknownCommand(name: string): UsageError {
  const suggestion = suggest(name, Object.keys(COMMANDS));
  const advice = suggestion === undefined ? "`latentcast --help` lists the commands" : `did you mean ${suggestion}?`;
  return new UsageError(`unknown command ${JSON.stringify(name)}; ${advice}`);
}

/** One line for what can go wrong outside this program; null for a fault of this program. */
function failureText(error: unknown): string | null {
  if (error instanceof LatentcastError || error instanceof LaunchError) return error.message;
  if (!(error instanceof Error) || !("code" in error)) return null;
  if (error.code === "EADDRINUSE")
    return "the port is in use: stop the program that listens there, or choose another port with --port";
  // Errors of the operating system name the call and the path themselves.
  return "syscall" in error ? error.message : null;
}
