#!/usr/bin/env node
/** Process entry. Signals and exit codes are decided here and nowhere else. */
import closeWithGrace from "close-with-grace";
import { runCommandLine } from "./cli.ts";
import { openTerminal } from "./cli/terminal.ts";

const EXIT_CODES = { done: 0, failed: 1, misused: 2, interrupted: 130 } as const;
/** A fault of this program: EX_SOFTWARE of sysexits.h. */
const EXIT_INTERNAL = 70;

const stop = new AbortController();
const terminal = openTerminal(process.stdout, process.stderr, process.env);

// A reader that leaves early (`latentcast … | head`) is no failure of ours, and there is nobody left to tell.
process.stdout.on("error", leaveOnBrokenPipe);
process.stderr.on("error", leaveOnBrokenPipe);

// No delay: how long a drain may take is a setting, kept by the server; the second signal ends at once.
const grace = closeWithGrace(
  { delay: false, logger: false, onSecondSignal: () => process.exit(EXIT_CODES.interrupted) },
  async ({ signal, err }) => {
    if (err !== undefined) leaveWithFault(err);
    stop.abort(signal);
    process.exit(EXIT_CODES[await command]);
  },
);

const command = runCommandLine({ args: process.argv.slice(2), env: process.env, terminal, signal: stop.signal });
try {
  const outcome = await command;
  grace.uninstall();
  process.exit(EXIT_CODES[outcome]);
} catch (error) {
  leaveWithFault(error);
}

function leaveWithFault(error: unknown): never {
  terminal.note(
    `latentcast: internal error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
  );
  process.exit(EXIT_INTERNAL);
}

function leaveOnBrokenPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE") throw error;
  process.exit(EXIT_CODES.done);
}
