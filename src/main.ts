#!/usr/bin/env node
/** Process entry. Signals and exit codes are decided here and nowhere else. */
import "./cli/young-generation.ts";
import { closeSync } from "node:fs";
import { runCommandLine } from "./cli.ts";
import { openOutput } from "./cli/output.ts";
import { onStopSignals } from "./cli/signals.ts";
import { openTerminal } from "./cli/terminal.ts";

const EXIT_CODES = { done: 0, failed: 1, misused: 2, interrupted: 130 } as const;
/** A fault of this program: EX_SOFTWARE of sysexits.h. */
const EXIT_INTERNAL = 70;
/** How long the last lines may take to be read before the process ends without them. */
const FLUSH_MS = 1_000;

const { stdin, stdout, stderr } = process;
// A reader of the log or of progress that leaves ends nothing.
const err = openOutput(stderr, () => undefined);
// One writer for one terminal: lines keep their order.
const out = stdout.isTTY && stderr.isTTY ? err : openOutput(stdout, leaveWithReader);
const terminal = openTerminal(out, err, process.env);
const stop = new AbortController();

onStopSignals(stdin.isTTY || stdout.isTTY || stderr.isTTY, {
  stop: (signal) => stop.abort(signal),
  stopNow: () => exit(EXIT_CODES.interrupted),
});
process.on("uncaughtException", (error) => void leaveWithFault(error));
process.on("unhandledRejection", (error) => void leaveWithFault(error));

try {
  const args = process.argv.slice(2);
  await leave(EXIT_CODES[await runCommandLine({ args, env: process.env, terminal, signal: stop.signal })]);
} catch (error) {
  await leaveWithFault(error);
}

async function leave(code: number): Promise<never> {
  await Promise.all([out.flush(FLUSH_MS), err.flush(FLUSH_MS)]);
  exit(code);
}

/** Node restores the terminal at its end and aborts when that terminal is gone; descriptors that are closed it passes over. */
function exit(code: number): never {
  if (stop.signal.reason === "SIGHUP") for (const { fd } of [stdin, stdout, stderr]) closeSync(fd);
  process.exit(code);
}

function leaveWithFault(error: unknown): Promise<never> {
  terminal.note(
    `latentcast: internal error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
  );
  return leave(EXIT_INTERNAL);
}

/** `latentcast generate … | head`: a closed output is not a failure. A server goes on without a reader of its log. */
function leaveWithReader({ code }: NodeJS.ErrnoException): void {
  if (!terminal.isLogging) exit(code === "EPIPE" ? EXIT_CODES.done : EXIT_CODES.failed);
}
