/** `latentcast setup`: makes the Python environment now instead of at the first start. */
import type { Config } from "../config.ts";
import type { PackageSet } from "../python/environment-stamp.ts";
import { managedPython } from "../python/environment.ts";
import { configOf, settingFlags } from "./settings.ts";
import type { CliCommand, CommandContext } from "./command.ts";

export const setup: CliCommand = {
  usage: "[flags]",
  positionals: 0,
  flags: {
    ...settingFlags(["python"]),
    dev: { help: "Add what the project's own checks and tests need." },
  },
  run: async (context) => {
    const packages = context.args.switches.has("dev") ? "dev" : "worker";
    const python = await preparedPython(context, configOf(context), packages);
    context.terminal.print(`Python is ready: ${python}`);
    return "done";
  },
};

/** The interpreter for workers. Shows the progress of an environment that has to be made first. */
export function preparedPython(
  { env, terminal, signal }: CommandContext,
  config: Config,
  packages: PackageSet = "worker",
): Promise<string> {
  return managedPython(config, {
    env,
    packages,
    signal,
    onProgress: ({ text, fraction }) => terminal.progress(`Python environment: ${text}`, fraction),
  });
}
