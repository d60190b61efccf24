/** Every setting of the server, in one table: flags, variables, help texts and docs/configuration.md are made from it. */
import { resolve } from "node:path";
import { z } from "zod";
import { DISTILLATIONS, PREDICTION_TYPES, SHORTCUTS, type Shortcut } from "../protocol/worker-settings.ts";
import { limit, commaList, orAuto, origin, secondsAsMs, trimmed, toggle, whole } from "./values.ts";

export interface Setting<Value> {
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
    value: trimmed.min(1, "is empty"),
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
    help: "`auto` (SDXL base with a GPU, else `demo`), `demo`, `noise` (random weights), a diffusers folder or `.safetensors` checkpoint, or a hub id, also with the path of a file in it.",
  }),
  tinyVae: setting<string>({
    env: ["LATENTCAST_TINY_VAE"],
    flag: "tiny-vae",
    default: "madebyollin/taesdxl",
    value: z.string().min(1, "is empty"),
    help: "Preview decoder: hub id or folder. A model that comes with one keeps its own.",
  }),
  vae: setting<string | null>({
    env: ["LATENTCAST_VAE"],
    flag: "vae",
    default: "",
    defaultText: "the model's own",
    value: trimmed.transform((value) => (value === "" ? null : value)),
    help: "VAE of the finished images: `.safetensors` file, diffusers folder or hub id.",
  }),
  loraDir: setting<string | null>({
    env: ["LATENTCAST_LORA_DIR"],
    flag: "lora-dir",
    default: "",
    defaultText: "none",
    value: z.string().transform((value) => (value === "" ? null : resolve(value))),
    help: "Folder of LoRAs (`.safetensors`) that requests may name; with the folders in it, without links.",
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
    value: commaList.refine(
      (items) => items.every((item) => /^(auto|cpu|mps|(cuda|rocm|xpu):\d+)$/.test(item)),
      "use auto, cpu or cuda:N (or rocm:N, xpu:N, mps)",
    ),
    help: "`auto` (one worker per CUDA device, else one on the CPU), or a list such as `cuda:0,cuda:1`, `cpu,cpu`, `rocm:0`, `xpu:0` or `mps`; the last three need a torch that is built for them.",
  }),
  python: setting<string | null>({
    env: ["LATENTCAST_PYTHON"],
    flag: "python",
    default: "",
    defaultText: "managed in `.venv`",
    value: z.string().transform((value) => (value === "" ? null : value)),
    help: "Interpreter that workers run in; naming one switches the managed environment off.",
  }),
  apiKeys: setting<string[]>({
    env: ["LATENTCAST_API_KEYS"],
    default: "",
    defaultText: "none",
    value: commaList,
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
    help: "Images that may share a UNet call; `auto` measures how many are faster, 1 is exact mode.",
  }),
  shortcuts: setting<Shortcut[]>({
    env: ["LATENTCAST_SHORTCUTS"],
    flag: "shortcuts",
    default: "",
    defaultText: "none",
    value: commaList.pipe(z.array(z.enum(SHORTCUTS, { error: `use ${SHORTCUTS.join(", ")}` }))),
    help: "Faster methods that change the images, comma-separated: `cfg-cutoff` (guidance for the first 40 % of the steps), `step-cache` (every second step computes the outermost layers only), `few-step` (the model was distilled to few steps and its name does not say so: 4 steps, no guidance).",
  }),
  ratePerMinute: setting<number | null>({
    env: ["LATENTCAST_RATE_LIMIT_PER_MINUTE"],
    default: "off",
    value: limit(1_000_000),
    help: "POST requests and realtime connections a minute of one key, or of one address without keys; more are answered 429 with Retry-After.",
  }),
  concurrentPerKey: setting<number | null>({
    env: ["LATENTCAST_MAX_CONCURRENT_PER_KEY"],
    default: "off",
    value: limit(100_000),
    help: "Images that one key may wait for at once over `POST /`, `POST /stream` and realtime; queued requests do not count.",
  }),
  realtimeConnectionsPerKey: setting<number | null>({
    env: ["LATENTCAST_REALTIME_CONNECTIONS_PER_KEY"],
    default: "256",
    value: limit(100_000),
    help: "Realtime connections that one key, or one address without keys, may have open; more are answered 429.",
  }),
  realtimeMessagesPerSecond: setting<number | null>({
    env: ["LATENTCAST_REALTIME_MESSAGES_PER_SECOND"],
    default: "200",
    value: limit(100_000),
    help: "Messages a second that one realtime connection may send; one that sends more is closed with 1008.",
  }),
  realtimeFrameBytes: setting<number>({
    env: ["LATENTCAST_REALTIME_FRAME_LIMIT_BYTES"],
    default: String(16 * 2 ** 20),
    value: whole(1_024, 2 ** 30),
    help: "Largest message of a realtime connection, image included; one that sends a larger one is closed with 1009.",
  }),
  realtimeIdleMs: setting<number>({
    env: ["LATENTCAST_REALTIME_IDLE_SECONDS"],
    default: "300",
    value: secondsAsMs,
    help: "A realtime connection that has nothing to do and gets no input for this long is closed; clients open another one with their next input.",
  }),
  maxEventLoopDelayMs: setting<number>({
    env: ["LATENTCAST_MAX_EVENT_LOOP_DELAY_SECONDS"],
    default: "3",
    value: secondsAsMs,
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
    value: secondsAsMs,
    help: "How long results of the queue, files and uploads are kept.",
  }),
  storeLimitBytes: setting<number>({
    env: ["LATENTCAST_STORE_LIMIT_BYTES"],
    default: String(10 * 2 ** 30),
    value: whole(2 ** 20, 2 ** 50),
    help: "Largest size of the data directory; what expires first is removed first.",
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
    value: z.union([z.literal("").transform(() => null), trimmed.pipe(z.url({ protocol: /^https?$/ }))]),
    help: "The address under which clients reach this server; URLs in responses start with it.",
  }),
  corsOrigins: setting<string[]>({
    env: ["LATENTCAST_CORS_ORIGINS"],
    default: "",
    defaultText: "none",
    value: commaList.pipe(z.array(origin)),
    help: "Origins whose pages may call this server; `*` is any.",
  }),
  allowedHosts: setting<string[]>({
    env: ["LATENTCAST_ALLOWED_HOSTS"],
    default: "",
    defaultText: "none",
    value: commaList.transform((names) => names.map((name) => name.toLowerCase())),
    help: "Names besides loopback and LATENTCAST_PUBLIC_URL under which a server without keys answers, comma-separated, without port.",
  }),
  bodyLimitBytes: setting<number>({
    env: ["LATENTCAST_BODY_LIMIT_BYTES"],
    default: String(64 * 2 ** 20),
    value: whole(1_024, 2 ** 30),
    help: "Largest request body.",
  }),
  fetchImages: setting<boolean>({
    env: ["LATENTCAST_FETCH_IMAGES"],
    default: "0",
    value: toggle,
    help: "Fetch `image_url` and `mask_url` from other servers, over https and from public addresses only.",
  }),
  inputLimitBytes: setting<number>({
    env: ["LATENTCAST_INPUT_LIMIT_BYTES"],
    default: String(512 * 2 ** 20),
    value: whole(2 ** 20, 2 ** 50),
    help: "Memory that the images of unfinished requests may hold together; more are answered 429 with Retry-After.",
  }),
  metadata: setting<boolean>({
    env: ["LATENTCAST_METADATA"],
    default: "1",
    value: toggle,
    help: "Write prompt, seed, steps and model into finished images.",
  }),
  logLevel: setting<string>({
    env: ["LATENTCAST_LOG_LEVEL"],
    flag: "log-level",
    default: "info",
    value: trimmed.pipe(z.enum(["trace", "debug", "info", "warn", "error", "silent"])),
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
    value: secondsAsMs,
    help: "How long the first signal waits for running requests.",
  }),
  startTimeoutMs: setting<number>({
    env: ["LATENTCAST_START_TIMEOUT_SECONDS"],
    default: "1800",
    value: secondsAsMs,
    help: "A worker that shows no progress for this long while it loads is replaced.",
  }),
  stallTimeoutMs: setting<number>({
    env: ["LATENTCAST_STALL_TIMEOUT_SECONDS"],
    default: "30",
    value: secondsAsMs,
    help: "A worker that holds jobs is replaced when it finishes no step for this long, or for thirty times the duration of its steps if that is longer.",
  }),
} as const;
