/** Composition root: puts the parts together, starts them in order, ends them in reverse. */
import { join } from "node:path";
import type { FastifyInstance } from "fastify";
import pino, { type Logger } from "pino";
import { withProcessDefaults, type Config, type Environment } from "./config.ts";
import { buildApp } from "./http/app.ts";
import { dialectNamed } from "./dialects/registry.ts";
import { storedError } from "./http/error-body.ts";
import { loadEncoder } from "./images/encode.ts";
import type { JobObserver } from "./jobs/observer.ts";
import { JobLog } from "./observability/job-log.ts";
import { Metrics } from "./observability/metrics.ts";
import { startTracing } from "./observability/tracing.ts";
import { Orchestrator } from "./jobs/service.ts";
import { packageRoot, packageVersion } from "./package-info.ts";
import type { Launch } from "./processes/child.ts";
import { openStorage, type Storage } from "./storage/open.ts";
import { startRetention } from "./storage/retention.ts";
import { QueueService } from "./requests/service.ts";
import { WebhookSender } from "./requests/webhooks.ts";
import { childEnvironment } from "./worker/child-environment.ts";
import { managedPython } from "./python/environment.ts";
import { resolveModel } from "./worker/model-choice.ts";
import { resolveDevices, type Device } from "./worker/devices.ts";

export interface RuntimeOptions {
  /** Defaults to the settings in `env`. */
  readonly config?: Config;
  /** Variables that tracing, workers and the set-up of their Python see; defaults to those of this process. */
  readonly env?: Environment;
  readonly log?: Logger;
  /** Finds the interpreter that workers run in; by default the one of the settings, the managed one made first where needed. */
  readonly python?: () => Promise<string>;
  /** Stands in for `python -m latentcast_worker`; for workers that misbehave on purpose. */
  readonly workerProgram?: readonly string[];
}

export type StartServerOptions = RuntimeOptions;

export interface LatentcastServer {
  /** Where it listens, such as `http://127.0.0.1:8080`. */
  readonly url: string;
  readonly app: FastifyInstance;
  readonly orchestrator: Orchestrator;
  /** Finishes what was accepted, at most for the configured time, then ends. */
  drain(): Promise<void>;
  /** Cancels everything and ends. */
  close(): Promise<void>;
}

/** How long clients may take to read answers that are ready when the server ends by itself. */
const FLUSH_PATIENCE_MS = 10_000;
/** The same when it is told to end now: enough for error bodies to leave. */
const LAST_WORDS_PATIENCE_MS = 1_000;

/** Listens at once; the workers load behind it. */
export async function startServer(options: StartServerOptions = {}): Promise<LatentcastServer> {
  const { config, env } = withProcessDefaults(options);
  const log = options.log ?? pino({ level: config.logLevel });
  const version = packageVersion();
  const storage = await openStorage(config);
  try {
    return await serve({ ...options, config, env, log, storage, version });
  } catch (error) {
    await storage.store.close();
    throw error;
  }
}

interface ServeOptions extends RuntimeOptions {
  readonly config: Config;
  readonly env: Environment;
  readonly log: Logger;
  readonly storage: Storage;
  readonly version: string;
}

async function serve(options: ServeOptions): Promise<LatentcastServer> {
  const { config, env, log, storage, version } = options;
  const metrics = new Metrics();
  const tracing = await startTracing({ env, version });
  const observers = [metrics, new JobLog(log, config.logPrompts), ...(tracing === undefined ? [] : [tracing.observer])];
  const orchestrator = await startOrchestrator({ ...options, observers });
  metrics.watch(orchestrator);
  const webhooks = new WebhookSender({ store: storage.store, key: storage.key, log });
  const queue = new QueueService({
    ...storage,
    orchestrator,
    webhooks,
    dialect: dialectNamed,
    refusal: storedError,
    log,
  });
  const { fastify, shutdown } = await buildApp({
    config,
    orchestrator,
    storage,
    queue,
    log,
    version,
    metrics,
    tracing,
  });
  let url: string;
  try {
    await queue.recover();
    url = await fastify.listen({ host: config.host, port: config.port });
    // After it listens: whoever waits for the server to answer does not wait for this too.
    await loadEncoder();
  } catch (error) {
    await orchestrator.close();
    await shutdown.close(LAST_WORDS_PATIENCE_MS);
    throw error;
  }
  const retention = startRetention(storage.store, log);
  const end = async (patienceMs: number): Promise<void> => {
    await queue.close();
    await shutdown.close(patienceMs);
    retention.stop();
    await storage.store.close();
    await tracing?.close();
  };
  return {
    url,
    app: fastify,
    orchestrator,
    drain: async () => {
      await orchestrator.drain(config.drainTimeoutMs);
      await end(FLUSH_PATIENCE_MS);
    },
    close: async () => {
      await orchestrator.close();
      await end(LAST_WORDS_PATIENCE_MS);
    },
  };
}

export async function startOrchestrator(
  options: RuntimeOptions & {
    readonly config: Config;
    readonly env: Environment;
    readonly log: Logger;
    readonly observers?: readonly JobObserver[];
  },
): Promise<Orchestrator> {
  const { config, env, log, observers = [], python = () => managedPython(config, { env }) } = options;
  const devices = await resolveDevices(config.devices, env);
  const model = resolveModel(
    config.model,
    devices.some(({ cudaVisible }) => cudaVisible !== null),
  );
  return Orchestrator.start({
    config,
    log,
    observers,
    slots: devices.length,
    launch: async (slot, epoch, endpoint) => {
      const device = devices[slot];
      if (device === undefined) throw new RangeError(`no device for slot ${slot}`);
      return workerLaunch({
        ...options,
        python: await python(),
        device,
        model,
        endpoint,
        identity: `w${slot}.${epoch}`,
      });
    },
  });
}

interface WorkerLaunchOptions extends Omit<RuntimeOptions, "python"> {
  readonly config: Config;
  readonly env: Environment;
  readonly python: string;
  readonly device: Device;
  readonly model: string;
  readonly endpoint: string;
  readonly identity: string;
}

function workerLaunch(options: WorkerLaunchOptions): Launch {
  const { config, device, python, workerProgram = ["-m", "latentcast_worker"] } = options;
  const flags = {
    endpoint: options.endpoint,
    identity: options.identity,
    model: options.model,
    "tiny-vae": config.tinyVae,
    device: device.cudaVisible === null ? "cpu" : "cuda:0",
    "cache-dir": config.cacheDir,
    "max-batch": config.maxBatch === null ? "auto" : String(config.maxBatch),
    shortcuts: config.shortcuts.join(","),
    ...(device.cpuShare === undefined ? {} : { "cpu-share": `${device.cpuShare.index}/${device.cpuShare.count}` }),
  };
  return {
    file: python,
    args: [...workerProgram, ...Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value])],
    env: childEnvironment(options.env, {
      PYTHONPATH: join(packageRoot(), "python"),
      // Log lines when they are written, and no .pyc files in an installed package.
      PYTHONUNBUFFERED: "1",
      PYTHONDONTWRITEBYTECODE: "1",
      ...(device.cudaVisible === null
        ? {}
        : { CUDA_VISIBLE_DEVICES: device.cudaVisible, CUDA_DEVICE_ORDER: "PCI_BUS_ID" }),
    }),
  };
}
