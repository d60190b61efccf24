/** The command line: finds the verb, reads its arguments, and says every failure in one line. */
import { readArguments, suggest, UsageError, type FlagTable } from "./cli/arguments.ts";
import { overallHelp, verbHelp } from "./cli/help.ts";
import type { Terminal } from "./cli/terminal.ts";
import type { Outcome, Verb } from "./cli/command.ts";
import { ConfigError } from "./config.ts";
import { LatentcastError } from "./errors.ts";
import { packageVersion } from "./package-info.ts";
import { LaunchError } from "./worker/supervisor.ts";

interface VerbEntry {
  readonly summary: string;
  load(): Promise<Verb>;
}

export interface CommandLine {
  /** What follows the program's name. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly terminal: Terminal;
  readonly signal: AbortSignal;
}

/** Loaded when asked for: `doctor` has to start where a native library that the others need does not load. */
const VERBS: Readonly<Record<string, VerbEntry>> = {
  serve: {
    summary: "Serve pictures over HTTP",
    load: async () => (await import("./cli/serve.ts")).serve,
  },
  generate: {
    summary: "Make one picture, or a few, and write them to files",
    load: async () => (await import("./cli/generate.ts")).generate,
  },
  setup: {
    summary: "Make the Python environment that workers run in, or bring it up to date",
    load: async () => (await import("./cli/setup.ts")).setup,
  },
  doctor: {
    summary: "Say what is missing: Python, GPU, driver, weights, disk",
    load: async () => (await import("./cli/doctor.ts")).doctor,
  },
};
const HELP_FLAG: FlagTable = { help: { short: "h", help: "This text." } };

/** Never rejects for what a user can cause; such a failure is one line on stderr. */
export async function runCommandLine(line: CommandLine): Promise<Outcome | "misused"> {
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

async function dispatch({ args, env, terminal, signal }: CommandLine): Promise<Outcome> {
  const [name, ...rest] = args;
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    terminal.print(overallHelp(VERBS));
    return "done";
  }
  if (name === "--version" || name === "-V") {
    terminal.print(packageVersion());
    return "done";
  }
  const entry = Object.hasOwn(VERBS, name) ? VERBS[name] : undefined;
  if (entry === undefined) throw unknownVerb(name);
  const verb = await entry.load();
  const parsed = readArguments(rest, { ...verb.flags, ...HELP_FLAG });
  if (parsed.switches.has("help")) {
    terminal.print(
      verbHelp(`latentcast ${name} ${verb.usage}`, entry.summary, { ...verb, flags: { ...verb.flags, ...HELP_FLAG } }),
    );
    return "done";
  }
  if (parsed.positionals.length > verb.positionals) {
    const surplus = parsed.positionals[verb.positionals] ?? "";
    throw new UsageError(`${name} does not take ${JSON.stringify(surplus)}; a text with spaces needs quotes`);
  }
  return verb.run({ args: parsed, env, terminal, signal });
}

function unknownVerb(name: string): UsageError {
  const suggestion = suggest(name, Object.keys(VERBS));
  const advice = suggestion === undefined ? "latentcast --help lists them" : `did you mean ${suggestion}?`;
  return new UsageError(`there is no verb ${JSON.stringify(name)}; ${advice}`);
}

/** One line for what may go wrong outside this program; null for what may not. */
function failureText(error: unknown): string | null {
  if (error instanceof LatentcastError || error instanceof LaunchError) return error.message;
  if (!(error instanceof Error) || !("code" in error)) return null;
  if (error.code === "EADDRINUSE") return "the port is taken: stop what listens there, or use another with --port";
  // Errors of the operating system name the call and the path themselves.
  return "syscall" in error ? error.message : null;
}
