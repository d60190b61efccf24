/** `latentcast doctor`: one line for each requirement, and for each failure how to fix it. */
import { statSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../package-info.ts";
import { environmentDirectory } from "../python/environment.ts";
import { checkDisk, checkMemory, checkNative, checkNode, checkPort, type Check } from "./doctor-checks.ts";
import { queryCudaDevices, type CudaDevice } from "../worker/nvidia.ts";
import { checkDriver } from "./doctor-gpu.ts";
import { checkEnvironment, checkImports, checkInterpreter, type ImportedPackages } from "./doctor-python.ts";
import { checkWeights, hubCache } from "./doctor-weights.ts";
import { row } from "./help.ts";
import { configOf, settingFlags } from "./settings.ts";
import type { CliCommand, CommandContext } from "./command.ts";

export const doctor: CliCommand = {
  usage: "[flags]",
  positionals: 0,
  flags: {
    json: { help: "One JSON object instead of lines." },
    ...settingFlags(["model", "tiny-vae", "vae", "devices", "python", "host", "port"]),
  },
  notes: ["Exits with 1 if a check fails."],
  run: async (context) => {
    const { args, terminal } = context;
    const asJson = args.switches.has("json");
    const checks: Check[] = [];
    for await (const check of examine(context)) {
      checks.push(check);
      if (!asJson) terminal.print(line(check));
    }
    const isFine = checks.every(({ state }) => state !== "fail");
    if (asJson) terminal.print(JSON.stringify({ ok: isFine, checks }, null, 2));
    return isFine ? "done" : "failed";
  },
};

async function* examine(context: CommandContext): AsyncGenerator<Check> {
  const { env, signal } = context;
  const config = configOf(context);
  const directory = environmentDirectory(packageRoot(), config.cacheDir);
  yield checkNode();
  yield checkNative("ZeroMQ", () => import("../worker/transport.ts"));
  yield checkNative("sharp", () => import("../images/encode.ts"));
  yield checkInterpreter(config, env, signal);
  const environment = await checkEnvironment(config, directory, env, signal);
  yield environment;
  let packages: ImportedPackages | null = null;
  if (environment.state === "ok") {
    const imports = await checkImports(config, directory, env, signal);
    packages = imports.packages;
    yield imports.check;
  }
  const devices = await queryCudaDevices(env);
  const usesCuda = devices.length > 0 && !config.devices.every((device) => device === "cpu");
  yield checkDriver(devices, packages);
  yield checkMemory(usesCuda ? smallest(devices) : null);
  const weights = await checkWeights(config, env, usesCuda);
  yield* weights.checks;
  yield checkDisk([
    {
      path: packageRoot(),
      needsBytes: environment.state === "ok" ? 0 : environmentBytes(usesCuda),
      what: "the Python environment",
    },
    { path: nearestFolder(hubCache(env)), needsBytes: weights.missingBytes, what: "the model's weights" },
  ]);
  yield checkPort(config.host, config.port);
}

function line({ name, state, text, hint }: Check): string {
  const advice = hint === null ? text : `${text}: ${hint}`;
  return row(`${state.padEnd(5)} ${name}`, advice);
}

/** Null when no driver says how much it has. */
function smallest(devices: readonly CudaDevice[]): number | null {
  const known = devices.map(({ memoryBytes }) => memoryBytes).filter((bytes) => bytes !== null);
  return known.length === 0 ? null : Math.min(...known);
}

/** Measured: 1.3 GB with the CPU build of torch; the CUDA build brings its libraries along and takes about 7 GB. */
function environmentBytes(usesCuda: boolean): number {
  return (usesCuda || process.platform === "linux" ? 8 : 2) * 2 ** 30;
}

/** The folder itself or the nearest one above it that exists. */
function nearestFolder(path: string): string {
  if (statSync(path, { throwIfNoEntry: false }) !== undefined) return path;
  const parent = join(path, "..");
  return parent === path ? path : nearestFolder(parent);
}
