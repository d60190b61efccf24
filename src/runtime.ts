/** Composition root: puts the parts together, starts them in order, ends them in reverse. */
import { join } from "node:path";
import type { FastifyInstance } from "fastify";
import pino, { type Logger } from "pino";
import { Disposers } from "./async/disposers.ts";
import { isLoopback, withProcessDefaults, type Config } from "./config.ts";
import type { FleetPace } from "./cluster/fleet/pace.ts";
import type { PullRule } from "./cluster/node/pull-rule.ts";
import type { Environment } from "./config/environment.ts";
import { buildApp } from "./http/app.ts";
import { UploadTickets } from "./http/upload-ticket.ts";
import { dialectNamed } from "./dialects/registry.ts";
import { loadEncoder } from "./images/encode.ts";
import { InputMemory } from "./images/input-memory.ts";
import { InputReader, type InputReaderOptions } from "./images/source.ts";
import type { Jobs } from "./jobs/jobs.ts";
import type { JobObserver } from "./jobs/observer.ts";
import { JobLog } from "./observability/job-log.ts";
import { Metrics } from "./observability/metrics.ts";
import { startTracing } from "./observability/tracing.ts";
import { JobService } from "./jobs/service.ts";
import { fetchImage } from "./net/fetch-image.ts";
import { packageRoot, packageVersion } from "./package-info.ts";
import type { Launch } from "./processes/child.ts";
import type { ConnectOptions, FleetConnection, ServedJobs, StartNodeOptions } from "./runtime/fleet.ts";
import type { fleetParts } from "./runtime/in-fleet.ts";
import { openStorage } from "./storage/open.ts";
import { readObject } from "./storage/read-object.ts";
import { startRetention } from "./storage/retention.ts";
import { PublishedImages } from "./storage/published-images.ts";
import { LocalQueue } from "./requests/local-queue.ts";
import { SigningKey } from "./requests/webhook-key.ts";
import { WebhookSender } from "./requests/webhooks.ts";
import { managedPython } from "./python/environment.ts";
import { usableCacheFolder } from "./worker/cache-folder.ts";
import { checkLoraFolder } from "./worker/lora-folder.ts";
import { resolveModels } from "./worker/model-choice.ts";
import { resolveDevices } from "./worker/devices.ts";
import { configuredSettings, workerLaunch } from "./worker/launch.ts";

export interface RuntimeOptions {
  /** Defaults to the settings in `env`. */
  readonly config?: Config;
  /** Variables that tracing, workers and the set-up of their Python see; defaults to those of this process. */
  readonly env?: Environment;
  readonly log?: Logger;
  /** The interpreter that workers run in, used without a check; by default the one of the settings, checked or made first. */
  readonly python?: string;
  /** Stands in for `python -m latentcast_worker`; for workers that misbehave on purpose. */
  readonly workerProgram?: readonly string[];
  /** When a node of a fleet asks for work; for comparisons with the rule of this version. */
  readonly pullRule?: PullRule;
  /** How soon a gateway of a fleet looks after requests that nobody works on; for tests. */
  readonly fleetPace?: FleetPace | undefined;
}

export type StartServerOptions = Omit<RuntimeOptions, "python" | "workerProgram" | "pullRule" | "fleetPace">;

export interface LatentcastServer {
  /** Where it listens, such as `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Finishes what was accepted, at most for the configured time, then ends. */
  drain(): Promise<void>;
  /** Cancels everything and ends. */
  close(): Promise<void>;
}

/** A server with its parts, for the command line, tests and benchmarks; not part of the public interface. */
export interface RunningServer extends LatentcastServer {
  readonly app: FastifyInstance;
  readonly jobs: Jobs;
  /** Of a node of a fleet: resolves when it takes the work of its pool, or when `signal` fires. */
  joined?(signal: AbortSignal): Promise<void>;
}

/** How long clients may take to read responses that are ready when a drain ends. */
const FLUSH_PATIENCE_MS = 10_000;
/** The same when it has to end at once: enough to send error bodies. */
const LAST_WORDS_PATIENCE_MS = 1_000;

/** Listens at once; the workers load behind it. */
export async function startServer(options: StartServerOptions = {}): Promise<LatentcastServer> {
  const { url, drain, close } = await runServer(options);
  return { url, drain, close };
}

export async function runServer(options: RuntimeOptions = {}): Promise<RunningServer> {
  const open = new Disposers();
  try {
    return await serve(options, open);
  } catch (error) {
    await open.close();
    throw error;
  }
}

/** Whatever it opens it adds to `open`, to be closed in reverse order. */
async function serve(options: RuntimeOptions, open: Disposers): Promise<RunningServer> {
  const { config, env } = withProcessDefaults(options);
  const log = options.log ?? pino({ level: config.logLevel });
  const tracing = await startTracing({ env, version: packageVersion() });
  open.add(() => tracing?.close());
  const metrics = new Metrics(config.natsUrls.length === 0 ? undefined : config.pool);
  const observers: JobObserver[] = [
    metrics,
    new JobLog(log, config.logPrompts),
    ...(tracing === undefined ? [] : [tracing.observer]),
  ];
  const parts = { ...options, config, env, log };
  const membership =
    config.natsUrls.length === 0 ? undefined : await joinFleet(config, { log, open, observer: metrics.fleet });
  if (membership !== undefined) observers.push(metrics.fleet);
  const served = await serveJobs(membership, parts, { metrics, observers, open });
  const { jobs, pools } = served;
  metrics.watch(jobs, membership?.connection.readServers);
  if (membership !== undefined && config.role === "node")
    return membership.parts.serveNode(served, { config, log, metrics, open });
  const { dataDir, storeLimitBytes: limitBytes, resultTtlMs: keepMs } = config;
  const shared = membership?.parts.openGatewayStorage(membership.connection, config);
  const storage = shared ?? (await openStorage({ dataDir, limitBytes, keepMs }));
  open.add(() => storage.close());
  const { requests: store } = storage;
  const webhookKey =
    membership === undefined
      ? await SigningKey.open(dataDir)
      : await membership.parts.sharedSigningKey(membership.connection.bus, membership.connection.layout);
  const webhookAddresses = { allowPrivate: config.allowPrivateWebhooks || isOnlyForThisMachine(config) };
  const { closing } = open;
  const webhooks = new WebhookSender({
    store,
    key: webhookKey,
    dialect: dialectNamed,
    log,
    closing,
    ...webhookAddresses,
  });
  const images = new PublishedImages(storage.objects);
  const inputReader = openInputReader(config, (key) => readObject(storage.objects, key));
  const queued = { jobs, images, inputReader, dialect: dialectNamed, log, closing };
  const queue =
    membership === undefined || shared === undefined || pools === undefined
      ? new LocalQueue({ ...queued, store })
      : membership.parts.startRequestGateway(membership.connection, {
          ...queued,
          ...{ store: shared.requests, pools, config, open, pace: options.fleetPace },
        });
  // Jobs end first: their results are kept, and clients that are connected still read them. Both may be ended twice.
  const endJobs = async (): Promise<void> => {
    await served.close();
    await queue.close();
  };
  open.add(endJobs);
  const { fastify, shutdown } = await buildApp({
    config,
    jobs,
    storage,
    images,
    inputReader,
    requests: queue,
    webhookKeys: webhookKey.publicKeys,
    webhookAddresses,
    tokenSecret: webhookKey.derive("access tokens"),
    uploadTickets:
      membership === undefined
        ? UploadTickets.ofThisProcess()
        : new UploadTickets({
            secret: webhookKey.derive("upload tickets"),
            now: () => membership.connection.bus.now(),
          }),
    gateways: () => membership?.connection.fleet.gateways.length ?? 1,
    log,
    metrics,
    tracing,
  });
  let patienceMs = LAST_WORDS_PATIENCE_MS;
  open.add(async () => {
    await endJobs();
    await shutdown.close(patienceMs);
  });
  if (queue instanceof LocalQueue) await queue.recover();
  webhooks.start();
  const url = await fastify.listen({ host: config.host, port: config.port });
  // Only now: a client that waits for the port need not wait for this too.
  await loadEncoder();
  const retention = startRetention(storage, log);
  open.add(() => retention.stop());
  return {
    url,
    app: fastify,
    jobs,
    drain: async () => {
      patienceMs = FLUSH_PATIENCE_MS;
      shutdown.drain();
      await served.drain(config.drainTimeoutMs);
      await open.close();
    },
    close: async () => {
      shutdown.drain();
      // Also in the middle of a drain, which has the rest closed.
      await served.close();
      await open.close();
    },
  };
}

interface Membership {
  readonly connection: FleetConnection;
  readonly parts: typeof fleetParts;
}

/** A process that is part of no fleet loads nothing of one. */
async function joinFleet(config: Config, options: ConnectOptions): Promise<Membership> {
  const { fleetParts: parts } = await import("./runtime/in-fleet.ts");
  return { parts, connection: await parts.connectToFleet(config, options) };
}

interface Counting {
  readonly metrics: Metrics;
  readonly observers: readonly JobObserver[];
  readonly open: Disposers;
}

/** The jobs of this process by its role: drawn here, by others, or both. */
async function serveJobs(
  membership: Membership | undefined,
  parts: StartJobsOptions,
  { metrics, observers, open }: Counting,
): Promise<ServedJobs> {
  const { config, log, pullRule } = parts;
  if (membership === undefined) {
    const jobs = await startJobs({ ...parts, observers });
    return { jobs, drain: (timeoutMs) => jobs.drain(timeoutMs), close: () => jobs.close() };
  }
  const { connection } = membership;
  const { bothRoles, gatewayAlone, startGateway, startNode } = membership.parts;
  const node = (start: StartNodeOptions["startJobs"]): StartNodeOptions => ({
    ...{ config, log, closing: open.closing, startJobs: start, rule: pullRule },
    openInputs: ({ objects }) => openInputReader(config, (key) => readObject(objects, key)),
  });
  if (config.role === "node")
    return startNode(
      connection,
      node((changes) => startJobs({ ...parts, observers: [...observers, changes] })),
    );
  const gateway = startGateway(connection, config, { log, observers, open });
  if (config.role === "gateway") return gatewayAlone(gateway);
  // Its jobs are counted once, by the gateway; how long steps take is known here only.
  const steps: JobObserver = {
    step: (job, seconds) => {
      metrics.step(job, seconds);
      metrics.fleet.step(job, seconds);
    },
    preview: (job, seconds) => metrics.preview(job, seconds),
  };
  const start = (changes: JobObserver): Promise<JobService> => startJobs({ ...parts, observers: [steps, changes] });
  return bothRoles(gateway, await startNode(connection, node(start)), connection, config.pool);
}

/** What requests may start from. */
export function openInputReader(
  { fetchImages, inputLimitBytes }: Config,
  readFile: InputReaderOptions["readFile"],
): InputReader {
  return new InputReader({
    memory: new InputMemory(inputLimitBytes),
    readFile,
    fetchImage: fetchImages ? (address, signal) => fetchImage(address, signal) : undefined,
  });
}

/** Clients of such a server can reach private addresses themselves. */
function isOnlyForThisMachine({ host, apiKeys }: Config): boolean {
  return isLoopback(host) && apiKeys.length === 0;
}

export interface StartJobsOptions extends RuntimeOptions {
  readonly config: Config;
  readonly env: Environment;
  readonly log: Logger;
  readonly observers?: readonly JobObserver[];
}

/** The workers and the jobs that they draw, without HTTP. */
export async function startJobs(options: StartJobsOptions): Promise<JobService> {
  const { config, env, log, observers = [], python } = options;
  const devices = await resolveDevices(config.devices, env);
  const models = resolveModels(
    config.model,
    devices.some(({ kind }) => kind !== "cpu"),
  );
  await checkLoraFolder(config.loraDir);
  const cacheDir = await usableCacheFolder(config.cacheDir, (text) => log.warn(text));
  const launch = async (slot: number, incarnation: number, endpoint: string): Promise<Launch> => {
    const device = devices[slot];
    if (device === undefined) throw new RangeError(`no device for slot ${slot}`);
    return workerLaunch({
      env,
      python: python ?? (await managedPython(config, { env })),
      program: options.workerProgram,
      pythonPath: join(packageRoot(), "python"),
      device,
      settings: { ...configuredSettings({ ...config, cacheDir }), endpoint, slot, incarnation, models },
    });
  };
  return JobService.start({
    config,
    version: packageVersion(),
    log,
    observers,
    workers: { slots: devices.length, launch },
  });
}
