/** `latentcast cluster`: what operators of a fleet need of it. */
import { fleetStatus, forgetPools, initFleet, type FleetStatus } from "../cluster/operator/operator.ts";
import { BusForbidden, BusRefusal, BusUnavailable, NO_MAJORITY } from "../cluster/bus.ts";
import { Layout } from "../cluster/layout.ts";
import { fleetUsers, serverConfiguration } from "../cluster/operator/permissions.ts";
import { ConfigError, type Config } from "../config.ts";
import { UsageError } from "./arguments.ts";
import type { CliCommand, CommandContext, CommandResult } from "./command.ts";
import { configOf, settingFlags } from "./settings.ts";

const ACTIONS: Readonly<Record<string, (context: CommandContext, config: Config) => Promise<CommandResult>>> = {
  init,
  status,
  permissions,
  forget,
};

export const cluster: CliCommand = {
  usage: "init|status|permissions|forget [flags]",
  positionals: 1,
  flags: {
    ...settingFlags(["nats", "pool"]),
    monitor: {
      value: "URLS",
      help: "Of `status`: the NATS servers' pages for operators, comma-separated, to see how they write to the disk. [default port 8222 of each]",
    },
    json: { help: "Of `status`: JSON, for programs." },
  },
  notes: [
    "init makes what a fleet keeps in NATS, and brings it up to date after an upgrade; run again, it changes nothing. --pool may name several pools, comma-separated.",
    "permissions prints what each role may do, as lines for the configuration of the NATS servers. --pool gives the nodes of each pool that it names a user of their own, who can take no work of others.",
    "forget removes what is known of pools that --pool names: gateways no longer offer their models. Stop their nodes first.",
    "status shows nodes, pools, waiting and running work, and what is wrong; it fails when something is.",
  ],
  run: (context) => {
    const [name = ""] = context.args.positionals;
    const action = Object.hasOwn(ACTIONS, name) ? ACTIONS[name] : undefined;
    if (action === undefined)
      throw new UsageError(`say what to do: latentcast cluster ${Object.keys(ACTIONS).join("|")}`);
    return action(context, clusterConfig(context)).catch((error: unknown) => {
      throw inOneSentence(error);
    });
  },
};

/** What servers refuse is for whoever looks after them. */
function inOneSentence(error: unknown): unknown {
  const options = { cause: error };
  if (error instanceof BusUnavailable) return new ConfigError(`--nats: ${NO_MAJORITY}.`, options);
  if (error instanceof BusForbidden)
    return new ConfigError("--nats: these credentials may not do this; use those of the operator.", options);
  return error instanceof BusRefusal ? new ConfigError(`--nats: ${error.message}.`, options) : error;
}

/** A fleet has several pools, a server is in one. */
function clusterConfig(context: CommandContext): Config {
  const [pool] = poolsOf(context);
  // It listens nowhere: what a server's address asks for does not concern it.
  const values = { ...context.args.values, host: "127.0.0.1", ...(pool === undefined ? {} : { pool }) };
  const config = configOf({ ...context, args: { ...context.args, values } });
  if (!context.args.positionals.includes("permissions") && config.natsUrls.length === 0)
    throw new ConfigError("--nats: name the NATS servers, or set LATENTCAST_NATS_URL");
  return config;
}

function poolsOf({ args, env }: CommandContext): readonly string[] {
  const text = args.values["pool"] ?? env["LATENTCAST_POOL"] ?? "";
  return text.split(",").flatMap((name) => (name.trim() === "" ? [] : [name.trim()]));
}

function checkedPools(context: CommandContext): readonly string[] {
  const pools = poolsOf(context);
  const wrong = pools.find((pool) => !/^[a-z0-9_-]{1,32}$/.test(pool));
  if (wrong !== undefined) throw new ConfigError(`--pool: ${JSON.stringify(wrong)} is no name of a pool`);
  return pools;
}

async function init(context: CommandContext, config: Config): Promise<CommandResult> {
  const { terminal } = context;
  const pools = checkedPools(context);
  const steps = await initFleet(config, pools.length === 0 ? [config.pool] : pools);
  for (const { kind, name, done, settings } of steps) {
    const detail = settings.length === 0 ? "" : ` (${settings.join(", ")})`;
    terminal.print(`${done.padEnd(9)}  ${kind} ${name}${detail}`);
  }
  return "done";
}

async function forget(context: CommandContext, config: Config): Promise<CommandResult> {
  // Never by the environment alone: that names the pool that a gateway or a node has.
  if (context.args.values["pool"] === undefined) throw new UsageError("say which pools are to be forgotten: --pool");
  const pools = checkedPools(context);
  await forgetPools(config, pools);
  for (const pool of pools) context.terminal.print(`forgotten  pool ${pool}`);
  return "done";
}

function permissions(context: CommandContext, config: Config): Promise<CommandResult> {
  // As for `forget`: the environment names the pool of one process.
  const pools = context.args.values["pool"] === undefined ? [] : checkedPools(context);
  context.terminal.print(serverConfiguration(new Layout({ cluster: config.cluster }), fleetUsers(pools)));
  return Promise.resolve("done");
}

async function status({ args, terminal, signal }: CommandContext, config: Config): Promise<CommandResult> {
  const monitors = args.values["monitor"]?.split(",").map((url) => url.trim());
  const found = await fleetStatus(config, monitors, signal);
  // It has not listened for long enough to say who is missing.
  if (signal.aborted) return "interrupted";
  terminal.print(args.switches.has("json") ? JSON.stringify(found, null, 2) : shown(found));
  return found.problems.length === 0 ? "done" : "failed";
}

function shown({ nodes, gateways, requests, pools, webhooks, streams, problems }: FleetStatus): string {
  const percent = (bytes: number, of: number): string => `${Math.round((100 * bytes) / of)} %`;
  return [
    `gateways   ${gateways}`,
    ...nodes.map(
      ({ name, pool, state, devices, held, serving }) =>
        `node       ${name}: ${state}, pool ${pool}, ${serving?.model.id ?? "no model yet"}, ${devices.length} device(s), ${held.length} job(s)`,
    ),
    ...Object.entries(pools).map(
      ([pool, { model, nodes: count, waiting, taken }]) =>
        `pool       ${pool}: ${waiting} waiting, ${taken} taken, ${count} node(s), ${model ?? "no model yet"}`,
    ),
    // Servers that do not answer have told nothing of these.
    ...(Object.keys(streams).length === 0
      ? []
      : [
          `requests   ${requests.queued} queued, ${requests.running} running, ${requests.ended} ended`,
          `webhooks   ${webhooks} to deliver`,
        ]),
    ...Object.entries(streams).map(
      ([name, { bytes, maxBytes }]) => `stream     ${name}: ${percent(bytes, maxBytes)} full`,
    ),
    ...(problems.length === 0 ? ["all is well"] : problems.map((problem) => `wrong      ${problem}`)),
  ].join("\n");
}
