/** Reads the settings of `config/settings.ts` from flags, variables and defaults. `loadConfig` is a pure function of its arguments. */
import { resolve } from "node:path";
import { isServiceLink, userFolder, type Environment } from "./config/environment.ts";
import type { Setting } from "./config/setting.ts";
import { SETTINGS } from "./config/settings.ts";

type SettingName = keyof typeof SETTINGS;
export type Config = {
  readonly [Name in SettingName]: (typeof SETTINGS)[Name] extends Setting<infer Value> ? Value : never;
};

/** A setting that cannot be used. The text names the flag or variable, the value and what is allowed. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

export interface ConfigSources {
  readonly env: Environment;
  /** Values of command-line flags by flag name; they win over the environment. */
  readonly flags?: Readonly<Record<string, string | undefined>>;
  /** Called with one line for each variable that is ignored. */
  readonly warn?: (text: string) => void;
}

/** Reads every setting from flags, then environment, then defaults. Throws {@link ConfigError} naming the first that is wrong. */
export function loadConfig(sources: ConfigSources): Config {
  const values: Record<string, unknown> = {};
  for (const [name, definition] of Object.entries(SETTINGS)) values[name] = readSetting(definition, sources);
  // The table decides both the keys and, through each entry's schema, the value types.
  const config = values as Config;
  const { env } = sources;
  return checkFleet(
    checkDoors({
      ...config,
      dataDir: folder("LATENTCAST_DATA_DIR", config.dataDir, userFolder(env, "XDG_DATA_HOME", [".local", "share"])),
      cacheDir: folder("LATENTCAST_CACHE_DIR", config.cacheDir, userFolder(env, "XDG_CACHE_HOME", [".cache"])),
    }),
  );
}

function folder(setting: string, named: string, ofUser: string | null): string {
  const path = named || ofUser;
  if (path === null) throw new ConfigError(`${setting}: this user has no home folder, so name a folder here`);
  return resolve(path);
}

function readSetting(definition: Setting<unknown>, { env, flags = {}, warn }: ConfigSources): unknown {
  const fromFlag = definition.flag === undefined ? undefined : flags[definition.flag];
  const variable = definition.env.find((name) => {
    const value = env[name];
    if (value === undefined || value === "") return false;
    if (!isServiceLink(name, value)) return true;
    if (fromFlag === undefined) warn?.(`${name}=${value} is ignored: Kubernetes sets it for a Service of that name`);
    return false;
  });
  const raw = fromFlag ?? (variable === undefined ? definition.default : env[variable]) ?? definition.default;
  const source = fromFlag === undefined ? (variable ?? definition.env[0]) : `--${definition.flag}`;
  if (raw !== "" && raw.trim() === "") throw new ConfigError(`${source}: is blank. ${definition.help}`);
  const parsed = definition.value.safeParse(raw);
  if (parsed.success) return parsed.data;
  throw new ConfigError(
    `${source}: ${parsed.error.issues[0]?.message ?? "not valid"} (got ${JSON.stringify(withoutLogins(raw))}). ${definition.help}`,
  );
}

/** Addresses may have a password in them. */
function withoutLogins(text: string): string {
  return text.replaceAll(/\/\/[^/@\s,]*@/g, "//…@");
}

export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}

function checkDoors(config: Config): Config {
  if (isLoopback(config.host) || config.apiKeys.length > 0 || config.allowAnonymous) return config;
  throw new ConfigError(
    `--host ${config.host} is reachable from other machines: set LATENTCAST_API_KEYS, or LATENTCAST_ALLOW_ANONYMOUS=1 to serve everybody.`,
  );
}

function checkFleet(config: Config): Config {
  const { natsUrls, role, model } = config;
  if (natsUrls.length === 0 && role !== "all")
    throw new ConfigError(`--role ${role} is a part in a fleet: name its NATS servers with --nats.`);
  if (natsUrls.length > 0 && role !== "gateway" && [model].flat().length > 1)
    throw new ConfigError("--model: a node of a fleet serves one model; start a node in a pool of its own for each.");
  return config;
}

interface Surroundings {
  readonly config?: Config;
  readonly env?: Environment;
}

/** What an entry point of the package falls back to: the variables of this process, and the settings in them. Nothing else reads them. */
export function withProcessDefaults<Options extends Surroundings>(
  options: Options,
): Options & { readonly config: Config; readonly env: Environment } {
  const env = options.env ?? process.env;
  return { ...options, env, config: options.config ?? loadConfig({ env }) };
}
