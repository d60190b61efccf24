/** The HTTP application, put together from plugins and routes. It does not listen: the caller does. */
import Fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from "fastify";
import type { Config } from "../config.ts";
import type { Metrics } from "../observability/metrics.ts";
import type { Tracing } from "../observability/tracing.ts";
import type { Jobs } from "../jobs/jobs.ts";
import { packageVersion } from "../package-info.ts";
import type { AddressRules } from "../net/addresses.ts";
import type { Storage } from "../storage/open.ts";
import type { PublishedImages } from "../storage/published-images.ts";
import type { InputReader } from "../images/source.ts";
import type { RequestQueue } from "../requests/request-queue.ts";
import type { KeySet } from "../requests/webhook-key.ts";
import { AccessTokens } from "./access-tokens.ts";
import { collectOperations } from "./documented.ts";
import { handleError } from "./error-body.ts";
import { handleNotFound } from "./not-found.ts";
import { logRequests } from "./plugins/access-log.ts";
import { requireKeys } from "./plugins/auth.ts";
import { acceptJson, refuseBodies } from "./plugins/bodies.ts";
import { answerBrokenRequests, answerConnect } from "./plugins/broken-requests.ts";
import { limitConnections } from "./plugins/connections.ts";
import { allowOrigins } from "./plugins/cors.ts";
import { guardDoors, requireOneHost } from "./plugins/doors.ts";
import { limitCallers } from "./plugins/limits.ts";
import { shedLoad } from "./plugins/overload.ts";
import { traceRequests } from "./plugins/request-spans.ts";
import { secureHeaders } from "./plugins/security-headers.ts";
import { routeUpgrades } from "./plugins/upgrades.ts";
import { newRequestId } from "./request-id.ts";
import { refuseUndecodable, routedPath } from "./request-path.ts";
import { eventRoutes } from "./routes/events.ts";
import { fileRoutes } from "./routes/files.ts";
import { PreferredModels } from "./preferred-models.ts";
import { generateRoutes } from "./routes/generate.ts";
import { healthRoutes } from "./routes/health.ts";
import { metricsRoutes } from "./routes/metrics.ts";
import { openApiRoutes } from "./routes/openapi.ts";
import { loraRoutes } from "./routes/loras.ts";
import { modelRoutes } from "./routes/models.ts";
import { playgroundRoutes } from "./routes/playground.ts";
import { proxyRoutes } from "./routes/proxy.ts";
import { queueRoutes } from "./routes/queue.ts";
import { realtimeRoutes } from "./routes/realtime.ts";
import { sdapiRoutes } from "./routes/sdapi.ts";
import { storageRoutes } from "./routes/storage.ts";
import { tokenRoutes } from "./routes/tokens.ts";
import { webhookKeyRoutes } from "./routes/webhook-keys.ts";
import { trackShutdown, type Shutdown } from "./shutdown.ts";
import { SOCKET_CONSTRAINT } from "./upgrade.ts";
import type { UploadTickets } from "./upload-ticket.ts";
import { RequestsUnderWay } from "./under-way.ts";

export interface AppOptions {
  readonly config: Config;
  readonly jobs: Jobs;
  readonly storage: Storage;
  readonly images: PublishedImages;
  readonly requests: RequestQueue;
  readonly inputReader: InputReader;
  /** What webhooks are signed with. */
  readonly webhookKeys: KeySet;
  /** Which addresses they may have. */
  readonly webhookAddresses: AddressRules;
  /** What access tokens are signed with. */
  readonly tokenSecret: Buffer;
  readonly uploadTickets: UploadTickets;
  /** How many servers share the callers of this one, itself included. */
  readonly gateways: () => number;
  readonly log: FastifyBaseLogger;
  readonly metrics: Metrics;
  /** Undefined where traces go nowhere. */
  readonly tracing: Tracing | undefined;
}

/** fal keeps idle connections for five minutes; its clients poll with pauses of seconds. */
const KEEP_ALIVE_TIMEOUT_MS = 72_000;
/** Clients that take longer than this for their headers hold sockets open. */
const HEADERS_TIMEOUT_MS = 20_000;
/** For the whole request body, uploads on slow lines included. */
const REQUEST_TIMEOUT_MS = 120_000;
/** Node enforces the two limits above only this often, by default every 30 s. */
const CONNECTION_CHECK_INTERVAL_MS = 2_000;
/** Node's own limit for all headers together. */
const MAX_ADDRESS_LENGTH = 16 * 2 ** 10;

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
  readonly shutdown: Shutdown & {
    /** Sockets take no more inputs, finish what runs and close. */
    drain(): void;
  };
}

export async function buildApp(options: AppOptions): Promise<App> {
  const { config, jobs, storage, images, inputReader, requests, log, metrics, tracing } = options;
  const { publicUrl } = config;
  const app = Fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: newRequestId,
    schemaController: { compilersFactory: NO_COMPILERS },
    bodyLimit: config.bodyLimitBytes,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    http: {
      headersTimeout: HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: CONNECTION_CHECK_INTERVAL_MS,
      // A hook refuses what lacks it, in the usual shape.
      requireHostHeader: false,
    },
    clientErrorHandler: answerBrokenRequests(config.corsOrigins),
    // Fastify would answer in a shape of its own. While the server drains, new work is refused where it is accepted.
    return503OnClosing: false,
    rewriteUrl: routedPath,
    // An address is as long as its header may be; Fastify would answer a longer name before any hook.
    routerOptions: {
      ignoreTrailingSlash: true,
      ignoreDuplicateSlashes: true,
      maxParamLength: MAX_ADDRESS_LENGTH,
      constraints: { upgrade: SOCKET_CONSTRAINT },
    },
  });
  app.setErrorHandler(handleError);
  const shutdown = trackShutdown(app);
  limitConnections(app);
  answerConnect(app, config.corsOrigins);
  // Headers of all responses come first: refusals have them too.
  nameRequests(app);
  if (tracing !== undefined) traceRequests(app, tracing);
  logRequests(app);
  await secureHeaders(app);
  await allowOrigins(app, config.corsOrigins);
  refuseUndecodable(app);
  requireOneHost(app);
  guardDoors(app, config);
  const tokens = new AccessTokens(options.tokenSecret);
  requireKeys(app, config.apiKeys, tokens);
  shedLoad(app, config.maxEventLoopDelayMs);
  const { ratePerMinute, concurrentPerKey: concurrent } = config;
  const begin = await limitCallers(app, { ratePerMinute, concurrent, sharers: options.gateways });
  refuseBodies(app);
  acceptJson(app);
  const documentedRoutes = collectOperations(app);
  metricsRoutes(app, metrics);
  const upgrades = routeUpgrades(app);

  const underWay = new RequestsUnderWay();
  const preferredModels = new PreferredModels();
  generateRoutes(app, { jobs, images, inputReader, publicUrl, underWay, preferredModels });
  const realtime = realtimeRoutes(app, {
    ...{ jobs, inputReader, upgrades, begin, metrics },
    limits: {
      maxFrameBytes: config.realtimeFrameBytes,
      messagesPerSecond: config.realtimeMessagesPerSecond,
      connectionsPerCaller: config.realtimeConnectionsPerKey,
      idleMs: config.realtimeIdleMs,
    },
  });
  sdapiRoutes(app, { jobs, underWay, preferredModels, apiKeys: config.apiKeys, loraDir: config.loraDir });
  tokenRoutes(app, tokens);
  modelRoutes(app, jobs);
  queueRoutes(app, { requests, publicUrl, webhooks: options.webhookAddresses });
  eventRoutes(app, requests);
  fileRoutes(app, storage.objects);
  storageRoutes(app, {
    objects: storage.objects,
    tickets: options.uploadTickets,
    publicUrl,
    uploadLimitBytes: config.bodyLimitBytes,
  });
  webhookKeyRoutes(app, options.webhookKeys);
  healthRoutes(app, { jobs, loraFolder: config.loraDir });
  loraRoutes(app, config.loraDir);
  openApiRoutes(app, documentedRoutes, { version: packageVersion(), needsKey: config.apiKeys.length > 0 });
  await playgroundRoutes(app);
  proxyRoutes(app);
  handleNotFound(app);
  return { fastify: app, shutdown: { close: shutdown.close, drain: realtime.drain } };
}

/** Each plugin and the stream listen once for the end of a response: with forms eleven do, where Node warns of a leak. */
const MAX_RESPONSE_LISTENERS = 20;

/** The id on every answer, and no cache in between unless a route says otherwise: most answers are about now. */
function nameRequests(app: FastifyInstance): void {
  app.addHook("onRequest", async (request, reply) => {
    reply.headers({ "x-fal-request-id": request.id, "x-request-id": request.id }).header("cache-control", "no-store");
    reply.raw.setMaxListeners(MAX_RESPONSE_LISTENERS);
  });
}
