/** `latentcast setup`: makes the Python environment now rather than at the first start. */
import { managedPython } from "../python/environment.ts";
import { configOf, settingFlags } from "./settings.ts";
import type { Verb, VerbContext } from "./command.ts";

export const setup: Verb = {
  usage: "[flags]",
  positionals: 0,
  flags: {
    ...settingFlags(["python"]),
    dev: { help: "Add what the project's own checks and tests need." },
  },
  run: async (context) => {
    const python = await preparedPython(context, context.args.switches.has("dev") ? "dev" : "worker");
    context.terminal.print(`Python is ready: ${python}`);
    return "done";
  },
};

/** The interpreter for workers, with its making shown. */
export function preparedPython(context: VerbContext, packages: "worker" | "dev" = "worker"): Promise<string> {
  const { env, terminal, signal } = context;
  return managedPython(configOf(context), {
    env,
    packages,
    signal,
    onProgress: ({ text, fraction }) => terminal.progress(`Python environment: ${text}`, fraction),
  });
}
