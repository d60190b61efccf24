/**
 * Settings: one table from which flags, environment variables, help texts and docs/configuration.md are made.
 * `loadConfig` is a pure function of its arguments.
 */
import { homedir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import { z } from "zod";
import { DISTILLATIONS, PREDICTION_TYPES, SHORTCUTS, type Shortcut } from "./protocol/worker-settings.ts";

const text = z.string().trim();
const toggle = text
  .pipe(z.enum(["0", "1", "true", "false", ""]))
  .transform((value) => value === "1" || value === "true");
const list = z.string().transform((value, context) => {
  const items = value
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
  if (items.length === 0 && value !== "") context.addIssue({ code: "custom", message: "is an empty list" });
  return items;
});
// `Number` takes a blank text for 0.
const decimal = text.regex(/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i, "is not a number").transform(Number);
const whole = (min: number, max: number): z.ZodType<number> => decimal.pipe(z.int().min(min).max(max));
const limit = (max: number): z.ZodType<number | null> =>
  z.union([z.literal("off").transform(() => null), whole(1, max)]);
/** Seconds, as milliseconds. A century is as good as for ever, and sums of it are still exact. */
const seconds = decimal
  .pipe(
    z
      .number()
      .positive()
      .max(100 * 365 * 86_400),
  )
  .transform((value) => value * 1_000);
/** As browsers send it: a page's address up to the port, the port left out where it is the scheme's own. */
const origin = z
  .string()
  .refine(
    (value) =>
      value === "*" ||
      value === "null" ||
      (URL.canParse(value) && /^[a-z][\w+.-]*:\/\/[^/?#@]+$/.test(value) && isOrigin(value)),
    "use origins such as https://page.example: no path, no slash at the end, no default port",
  );

function isOrigin(value: string): boolean {
  const { origin: canonical } = new URL(value);
  // Extensions of browsers have schemes whose origin URL does not know.
  return canonical === "null" || canonical === value;
}

const orAuto = <Value>(schema: z.ZodType<Value>): z.ZodType<Value | null> =>
  z.union([z.literal("auto").transform(() => null), schema]);

interface Setting<Value> {
  /** Names of the environment variables, first wins. */
  readonly env: readonly string[];
  /** The flag without dashes; settings without one are set by variable only. */
  readonly flag?: string;
  readonly default: string;
  /** Shown in tables where the default depends on the machine. */
  readonly defaultText?: string;
  readonly value: z.ZodType<Value>;
  readonly help: string;
}

function setting<Value>(definition: Setting<Value>): Setting<Value> {
  return definition;
}

export const SETTINGS = {
  host: setting<string>({
    env: ["LATENTCAST_HOST"],
    flag: "host",
    default: "127.0.0.1",
    value: text.min(1, "is empty"),
    help: "Address to listen on. Beyond loopback an API key is required, or LATENTCAST_ALLOW_ANONYMOUS=1.",
  }),
  port: setting<number>({
    env: ["LATENTCAST_PORT", "PORT"],
    flag: "port",
    default: "8080",
    value: whole(0, 65_535),
    help: "Port to listen on; 0 takes a free one.",
  }),
  model: setting<string>({
    env: ["LATENTCAST_MODEL"],
    flag: "model",
    default: "auto",
    value: z.string().min(1, "is empty"),
    help: "`auto` (SDXL base with a CUDA device, else `demo`), `demo`, `noise` (random weights), a diffusers folder or `.safetensors` checkpoint, or a hub id, also with the path of a file in it.",
  }),
  tinyVae: setting<string>({
    env: ["LATENTCAST_TINY_VAE"],
    flag: "tiny-vae",
    default: "madebyollin/taesdxl",
    value: z.string().min(1, "is empty"),
    help: "Preview decoder: hub id or folder. A model that brings its own keeps it.",
  }),
  vae: setting<string | null>({
    env: ["LATENTCAST_VAE"],
    flag: "vae",
    default: "",
    defaultText: "the model's own",
    value: text.transform((value) => (value === "" ? null : value)),
    help: "VAE of the final pictures: `.safetensors` file, diffusers folder or hub id.",
  }),
  predictionType: setting<(typeof PREDICTION_TYPES)[number] | null>({
    env: ["LATENTCAST_PREDICTION_TYPE"],
    default: "auto",
    value: orAuto(z.enum(PREDICTION_TYPES)),
    help: "What the model predicts, where it does not say so itself: `epsilon`, `v_prediction`, or `v_prediction_zero_snr` (with zero terminal SNR).",
  }),
  distillation: setting<(typeof DISTILLATIONS)[number] | null>({
    env: ["LATENTCAST_DISTILLATION"],
    default: "auto",
    value: orAuto(z.enum(DISTILLATIONS)),
    help: "How the model was distilled to few steps; `auto` goes by its name. `none`, `lightning`, `hyper`, `turbo`, `dmd2`, `lcm` or `tcd`.",
  }),
  devices: setting<string[]>({
    env: ["LATENTCAST_DEVICES"],
    flag: "devices",
    default: "auto",
    value: list.refine((items) => items.every((item) => /^(auto|cpu|cuda:\d+)$/.test(item)), "use auto, cpu or cuda:N"),
    help: "`auto` (one worker per CUDA device, else one on the CPU), or a list such as `cuda:0,cuda:1` or `cpu,cpu`.",
  }),
  python: setting<string | null>({
    env: ["LATENTCAST_PYTHON"],
    flag: "python",
    default: "",
    defaultText: "managed in `.venv`",
    value: z.string().transform((value) => (value === "" ? null : value)),
    help: "Interpreter to use as it is; naming one switches the managed environment off.",
  }),
  apiKeys: setting<string[]>({
    env: ["LATENTCAST_API_KEYS"],
    default: "",
    defaultText: "none",
    value: list,
    help: "Comma-separated keys, accepted as `Authorization: Key …` and `Bearer …`.",
  }),
  allowAnonymous: setting<boolean>({
    env: ["LATENTCAST_ALLOW_ANONYMOUS"],
    default: "0",
    value: toggle,
    help: "Listen beyond loopback without a key.",
  }),
  queueLimit: setting<number>({
    env: ["LATENTCAST_QUEUE_LIMIT"],
    flag: "queue-limit",
    default: "256",
    value: whole(0, 100_000),
    help: "Requests that may wait; more are answered 429 with Retry-After.",
  }),
  maxPixels: setting<number>({
    env: ["LATENTCAST_MAX_PIXELS"],
    default: "16777216",
    value: whole(4_096, 2 ** 31),
    help: "Largest width × height × num_images of one request.",
  }),
  maxBatch: setting<number | null>({
    env: ["LATENTCAST_MAX_BATCH"],
    default: "auto",
    value: z.union([z.literal("auto").transform(() => null), whole(1, 64)]),
    help: "Pictures that may share a UNet call; `auto` measures what pays, 1 is exact mode.",
  }),
  shortcuts: setting<Shortcut[]>({
    env: ["LATENTCAST_SHORTCUTS"],
    flag: "shortcuts",
    default: "",
    defaultText: "none",
    value: list.pipe(z.array(z.enum(SHORTCUTS, { error: `use ${SHORTCUTS.join(", ")}` }))),
    help: "Faster ways that change the pictures, comma-separated: `cfg-cutoff` (guidance for the first 40 % of the steps), `step-cache` (every second step computes the outermost layers only), `few-step` (the model was distilled to few steps and its name does not say so: 4 steps, no guidance).",
  }),
  ratePerMinute: setting<number | null>({
    env: ["LATENTCAST_RATE_LIMIT_PER_MINUTE"],
    default: "off",
    value: limit(1_000_000),
    help: "POST requests a minute of one key, or of one address without keys; more are answered 429 with Retry-After.",
  }),
  concurrentPerKey: setting<number | null>({
    env: ["LATENTCAST_MAX_CONCURRENT_PER_KEY"],
    default: "off",
    value: limit(100_000),
    help: "Pictures that one key may wait for at once over `POST /` and `POST /stream`; queued requests do not count.",
  }),
  maxEventLoopDelayMs: setting<number>({
    env: ["LATENTCAST_MAX_EVENT_LOOP_DELAY_SECONDS"],
    default: "3",
    value: seconds,
    help: "New requests are answered 503 while the server's own event loop lags by more than this.",
  }),
  dataDir: setting<string>({
    env: ["LATENTCAST_DATA_DIR"],
    flag: "data-dir",
    default: "",
    defaultText: "`~/.local/share/latentcast`",
    value: z.string(),
    help: "Queue state, results and uploads.",
  }),
  resultTtlMs: setting<number>({
    env: ["LATENTCAST_RESULT_TTL_SECONDS"],
    default: "3600",
    value: seconds,
    help: "How long results of the queue, files and uploads are kept.",
  }),
  storeLimitBytes: setting<number>({
    env: ["LATENTCAST_STORE_LIMIT_BYTES"],
    default: String(10 * 2 ** 30),
    value: whole(2 ** 20, 2 ** 50),
    help: "Most that is kept in the data directory; what expires first goes first.",
  }),
  allowPrivateWebhooks: setting<boolean>({
    env: ["LATENTCAST_ALLOW_PRIVATE_WEBHOOKS"],
    default: "0",
    defaultText: "only without keys on loopback",
    value: toggle,
    help: "Let webhooks go to private and loopback addresses.",
  }),
  cacheDir: setting<string>({
    env: ["LATENTCAST_CACHE_DIR"],
    default: "",
    defaultText: "`~/.cache/latentcast`",
    value: z.string(),
    help: "Calibrations and compiled kernels; safe to delete.",
  }),
  publicUrl: setting<string | null>({
    env: ["LATENTCAST_PUBLIC_URL"],
    default: "",
    defaultText: "from the request",
    value: z.union([z.literal("").transform(() => null), text.pipe(z.url({ protocol: /^https?$/ }))]),
    help: "How clients reach this server, for the URLs it hands out.",
  }),
  corsOrigins: setting<string[]>({
    env: ["LATENTCAST_CORS_ORIGINS"],
    default: "",
    defaultText: "none",
    value: list.pipe(z.array(origin)),
    help: "Origins whose pages may call this server; `*` is any.",
  }),
  allowedHosts: setting<string[]>({
    env: ["LATENTCAST_ALLOWED_HOSTS"],
    default: "",
    defaultText: "none",
    value: list.transform((names) => names.map((name) => name.toLowerCase())),
    help: "Names besides loopback and LATENTCAST_PUBLIC_URL under which a server without keys answers, comma-separated, without port.",
  }),
  bodyLimitBytes: setting<number>({
    env: ["LATENTCAST_BODY_LIMIT_BYTES"],
    default: String(64 * 2 ** 20),
    value: whole(1_024, 2 ** 30),
    help: "Largest request body.",
  }),
  metadata: setting<boolean>({
    env: ["LATENTCAST_METADATA"],
    default: "1",
    value: toggle,
    help: "Write prompt, seed, steps and model into finished pictures.",
  }),
  logLevel: setting<string>({
    env: ["LATENTCAST_LOG_LEVEL"],
    flag: "log-level",
    default: "info",
    value: text.pipe(z.enum(["trace", "debug", "info", "warn", "error", "silent"])),
    help: "trace, debug, info, warn, error or silent.",
  }),
  logPrompts: setting<boolean>({
    env: ["LATENTCAST_LOG_PROMPTS"],
    default: "0",
    value: toggle,
    help: "Write prompts into the log.",
  }),
  drainTimeoutMs: setting<number>({
    env: ["LATENTCAST_DRAIN_TIMEOUT_SECONDS"],
    default: "120",
    value: seconds,
    help: "How long the first signal waits for running requests.",
  }),
  startTimeoutMs: setting<number>({
    env: ["LATENTCAST_START_TIMEOUT_SECONDS"],
    default: "1800",
    value: seconds,
    help: "How long a worker may take to load without a sign of progress.",
  }),
  stallTimeoutMs: setting<number>({
    env: ["LATENTCAST_STALL_TIMEOUT_SECONDS"],
    default: "30",
    value: seconds,
    help: "A worker that holds work and finishes no piece of it for this long, or thirty steps of its size if that is longer, is replaced.",
  }),
} as const;

type SettingName = keyof typeof SETTINGS;
export type Config = {
  readonly [Name in SettingName]: (typeof SETTINGS)[Name] extends Setting<infer Value> ? Value : never;
};

/** A setting that cannot be used. The text names the flag or variable, the value and what is allowed. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

export interface ConfigSources {
  readonly env: Environment;
  /** Values of command-line flags by flag name; they win over the environment. */
  readonly flags?: Readonly<Record<string, string | undefined>>;
  /** Called with one line for each variable that is passed over. */
  readonly warn?: (text: string) => void;
}

/** Reads every setting from flags, then environment, then defaults. Throws {@link ConfigError} naming the first that is wrong. */
export function loadConfig(sources: ConfigSources): Config {
  const values: Record<string, unknown> = {};
  for (const [name, definition] of Object.entries(SETTINGS)) values[name] = readSetting(definition, sources);
  // The table decides both the keys and, through each entry's schema, the value types.
  const config = values as Config;
  const { env } = sources;
  return checkDoors({
    ...config,
    dataDir: resolve(config.dataDir || userFolder(env, "XDG_DATA_HOME", [".local", "share"], "LATENTCAST_DATA_DIR")),
    cacheDir: resolve(config.cacheDir || userFolder(env, "XDG_CACHE_HOME", [".cache"], "LATENTCAST_CACHE_DIR")),
  });
}

/** Our folder below one of the user's: the one that the variable names (an absolute path, by the XDG rules), else the one in the home. */
function userFolder(env: Environment, variable: string, inHome: readonly string[], name: string): string {
  const named = env[variable];
  if (named !== undefined && isAbsolute(named)) return join(named, "latentcast");
  const home = homeFolder(env);
  if (home === null) throw new ConfigError(`${name}: this user has no home folder, so name a folder here`);
  return join(home, ...inHome, "latentcast");
}

/** Null for a user without an entry in the password file, as in containers that run as any number. */
export function homeFolder({ HOME }: Environment): string | null {
  if (HOME !== undefined && isAbsolute(HOME)) return HOME;
  try {
    return homedir();
  } catch {
    return null;
  }
}

function readSetting(definition: Setting<unknown>, { env, flags = {}, warn }: ConfigSources): unknown {
  const fromFlag = definition.flag === undefined ? undefined : flags[definition.flag];
  const variable = definition.env.find((name) => {
    const value = env[name];
    if (value === undefined || value === "") return false;
    if (!isServiceLink(name, value)) return true;
    if (fromFlag === undefined)
      warn?.(`${name}=${value} is passed over: Kubernetes sets it for a Service of that name`);
    return false;
  });
  const raw = fromFlag ?? (variable === undefined ? definition.default : env[variable]) ?? definition.default;
  const source = fromFlag === undefined ? (variable ?? definition.env[0]) : `--${definition.flag}`;
  if (raw !== "" && raw.trim() === "") throw new ConfigError(`${source}: is blank. ${definition.help}`);
  const parsed = definition.value.safeParse(raw);
  if (parsed.success) return parsed.data;
  throw new ConfigError(
    `${source}: ${parsed.error.issues[0]?.message ?? "not valid"} (got ${JSON.stringify(raw)}). ${definition.help}`,
  );
}

/** Kubernetes gives pods `NAME_PORT=tcp://ADDRESS:PORT` for each Service in their namespace, and ours may be called latentcast. */
function isServiceLink(name: string, value: string): boolean {
  return name.endsWith("_PORT") && /^(tcp|udp|sctp):\/\//.test(value);
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
