/** `latentcast serve`: the server, until the first signal. */
import { once } from "node:events";
import pino, { type Logger } from "pino";
import type { Config } from "../config.ts";
import { runServer, type RunningServer } from "../runtime.ts";
import { SAME_SIGNAL_MS } from "./signals.ts";
import type { Terminal } from "./terminal.ts";
import { configOf, settingFlags, variableNotes } from "./settings.ts";
import { preparedPython } from "./setup.ts";
import type { CliCommand, CommandContext } from "./command.ts";

export const serve: CliCommand = {
  usage: "[flags]",
  positionals: 0,
  flags: settingFlags(),
  notes: [["By variable only:", ...variableNotes().map((note) => `  ${note}`)].join("\n")],
  run: async (context) => {
    const { terminal, signal } = context;
    const config = configOf(context);
    // A gateway has no workers.
    const isGateway = config.natsUrls.length > 0 && config.role === "gateway";
    const python = isGateway ? undefined : await preparedPython(context, config);
    const log = await openLog(config.logLevel, terminal);
    const server = await runServer({ config, env: context.env, log, ...(python === undefined ? {} : { python }) });
    terminal.note(`Latentcast listens on ${server.url}`);
    void announceModel(context, server, config);
    if (!signal.aborted) await once(signal, "abort");
    terminal.note("Finishing accepted work.");
    // Not before a second signal counts.
    const hint = setTimeout(() => terminal.note("Still working; a second signal ends now."), SAME_SIGNAL_MS);
    await server.drain();
    clearTimeout(hint);
    return "done";
  },
};

/** Lines for people in a terminal, JSON for everything else. */
async function openLog(level: string, terminal: Terminal): Promise<Logger> {
  if (!terminal.isInteractive) return pino({ level }, { write: (line) => terminal.log(line) });
  const { prettyFactory } = await import("pino-pretty");
  const pretty = prettyFactory({ ignore: "pid,hostname", translateTime: "HH:MM:ss", colorize: true });
  return pino({ level }, { write: (line) => terminal.log(pretty(line)) });
}

/** Loading is bounded by the workers' own start timeout, and a failure is in the log and in `GET /health`. */
async function announceModel(
  { terminal, signal }: CommandContext,
  server: RunningServer,
  { natsUrls, role, pool }: Config,
): Promise<void> {
  try {
    const { id } = await server.jobs.modelLoaded(signal);
    if (natsUrls.length > 0 && role === "node") {
      await server.joined?.(signal);
      if (!signal.aborted) terminal.note(`Ready with ${id}; takes work of pool ${pool}.`);
      return;
    }
    terminal.note(
      [
        `Ready with ${id}. Try:`,
        "",
        `  curl -N ${server.url}/stream -H 'content-type: application/json' -d '{"prompt": "a lighthouse at dusk"}'`,
        "",
      ].join("\n"),
    );
  } catch {
    // Stopped before it was loaded, or no worker starts: both are reported elsewhere.
  }
}
