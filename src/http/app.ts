/** The HTTP application. It never listens; whoever has it may `inject` or `listen`. */
import cors from "@fastify/cors";
import Fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from "fastify";
import type { Config } from "../config.ts";
import { LatentcastError } from "../errors.ts";
import type { Metrics } from "../observability/metrics.ts";
import type { Tracing } from "../observability/tracing.ts";
import type { Orchestrator } from "../jobs/service.ts";
import type { Storage } from "../storage/open.ts";
import type { QueueService } from "../requests/service.ts";
import { acceptJson } from "./body-parser.ts";
import { handleError } from "./error-body.ts";
import { routedUrl } from "./fal-target.ts";
import { logRequests } from "./plugins/access-log.ts";
import { requireKeys } from "./plugins/auth.ts";
import { limitCallers } from "./plugins/limits.ts";
import { shedLoad } from "./plugins/overload.ts";
import { secureHeaders } from "./plugins/security-headers.ts";
import { newRequestId } from "./request-id.ts";
import { shortRequestUrl } from "./request-path.ts";
import { eventRoutes } from "./routes/events.ts";
import { fileRoutes } from "./routes/files.ts";
import { generateRoutes } from "./routes/generate.ts";
import { healthRoutes } from "./routes/health.ts";
import { metricsRoutes } from "./routes/metrics.ts";
import { openApiRoutes } from "./routes/openapi.ts";
import { playgroundRoutes } from "./routes/playground.ts";
import { queueRoutes } from "./routes/queue.ts";
import { storageRoutes } from "./routes/storage.ts";
import { trackShutdown, type Shutdown } from "./shutdown.ts";

export interface AppOptions {
  readonly config: Config;
  readonly orchestrator: Orchestrator;
  readonly storage: Storage;
  readonly queue: QueueService;
  readonly log: FastifyBaseLogger;
  readonly version: string;
  readonly metrics: Metrics;
  /** Undefined where traces go nowhere. */
  readonly tracing: Tracing | undefined;
}

/** fal keeps idle connections for five minutes; its clients poll with pauses of seconds. */
const KEEP_ALIVE_TIMEOUT_MS = 72_000;
/** A header that takes longer than this is somebody holding sockets open. */
const HEADERS_TIMEOUT_MS = 20_000;
/** For the whole request body, uploads on slow lines included. */
const REQUEST_TIMEOUT_MS = 120_000;
/** Node enforces the two limits above only this often, by default every 30 s. */
const CONNECTION_CHECK_INTERVAL_MS = 2_000;

/**
 * Inputs are checked by Zod and answers written by `JSON.stringify`. Fastify's own compilers would load ajv and its kin at every
 * start (a tenth of it) to compile nothing; a route with a JSON schema would now fail at once, at registration.
 */
const NO_COMPILERS = { buildValidator: refuseSchemas, buildSerializer: refuseSchemas };

function refuseSchemas(): never {
  throw new Error("routes have no JSON schemas here; check with Zod");
}

export interface App {
  readonly fastify: FastifyInstance;
  readonly shutdown: Shutdown;
}

export async function buildApp(options: AppOptions): Promise<App> {
  const { config, orchestrator, storage, queue, log, version, metrics, tracing } = options;
  const { publicUrl } = config;
  const app = Fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: newRequestId,
    schemaController: { compilersFactory: NO_COMPILERS },
    bodyLimit: config.bodyLimitBytes,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    http: { headersTimeout: HEADERS_TIMEOUT_MS, connectionsCheckingInterval: CONNECTION_CHECK_INTERVAL_MS },
    rewriteUrl: ({ url = "/", headers }) =>
      shortRequestUrl(routedUrl({ url, host: headers.host, target: headers["x-fal-target-url"]?.toString() })),
    routerOptions: { ignoreTrailingSlash: true, ignoreDuplicateSlashes: true },
  });
  app.setErrorHandler(handleError);
  acceptJson(app);
  const shutdown = trackShutdown(app);
  app.addHook("onRequest", async (request, reply) => {
    reply.header("x-fal-request-id", request.id);
  });
  tracing?.follow(app);
  logRequests(app);
  await secureHeaders(app);
  if (config.corsOrigins.length > 0) {
    await app.register(cors, {
      origin: config.corsOrigins.includes("*") ? true : [...config.corsOrigins],
      methods: ["GET", "POST", "PUT"],
      exposedHeaders: ["x-fal-request-id", "x-fal-request-timeout-type", "x-fal-error-type", "retry-after"],
    });
  }
  requireKeys(app, config.apiKeys);
  await shedLoad(app, config.maxEventLoopDelayMs);
  await limitCallers(app, { ratePerMinute: config.ratePerMinute, concurrent: config.concurrentPerKey });
  metricsRoutes(app, metrics);

  generateRoutes(app, { orchestrator, files: storage.files, publicUrl });
  queueRoutes(app, { queue, publicUrl });
  eventRoutes(app, queue);
  fileRoutes(app, storage.store);
  storageRoutes(app, {
    store: storage.store,
    publicUrl,
    keepMs: config.resultTtlMs,
    uploadLimitBytes: config.bodyLimitBytes,
    keys: storage.key.publicKeys,
  });
  healthRoutes(app, orchestrator, { version, shortcuts: config.shortcuts });
  await openApiRoutes(app, { version, needsKey: config.apiKeys.length > 0 });
  await playgroundRoutes(app);
  // Reached only when the header names no address of fal's: every usable one has been rewritten to a path of ours.
  for (const path of ["/fal", "/api/fal/proxy"]) {
    app.all(path, () => {
      throw new LatentcastError("bad_request", {
        message: "The header x-fal-target-url must name an https address of fal.",
      });
    });
  }
  app.setNotFoundHandler((request) => {
    const path = request.url.split("?", 1)[0] ?? "/";
    const methods = (["GET", "POST", "PUT"] as const).filter((method) => app.findRoute({ url: path, method }) !== null);
    if (methods.length === 0) throw new LatentcastError("not_found", { message: `Path ${path} not found` });
    throw new LatentcastError("method_not_allowed", { message: `Path ${path} answers ${methods.join(", ")}` });
  });
  return { fastify: app, shutdown };
}
