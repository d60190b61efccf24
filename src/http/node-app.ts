/** The HTTP of a node of a fleet: its state and its metrics. */
import { randomBytes } from "node:crypto";
import Fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from "fastify";
import type { Config } from "../config.ts";
import type { Jobs } from "../jobs/jobs.ts";
import type { Metrics } from "../observability/metrics.ts";
import { AccessTokens } from "./access-tokens.ts";
import { handleError } from "./error-body.ts";
import { handleNotFound } from "./not-found.ts";
import { requireKeys } from "./plugins/auth.ts";
import { secureHeaders } from "./plugins/security-headers.ts";
import { newRequestId } from "./request-id.ts";
import { healthRoutes } from "./routes/health.ts";
import { metricsRoutes } from "./routes/metrics.ts";

export interface NodeAppOptions {
  readonly config: Pick<Config, "apiKeys" | "loraDir">;
  readonly jobs: Jobs;
  readonly log: FastifyBaseLogger;
  readonly metrics: Metrics;
  /** Why the node takes no work, whatever its workers say; undefined while it does. */
  readonly problem: () => string | undefined;
}

export function buildNodeApp({ config, jobs, log, metrics, problem }: NodeAppOptions): FastifyInstance {
  const app = Fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: newRequestId,
    forceCloseConnections: true,
  });
  app.setErrorHandler(handleError);
  void secureHeaders(app);
  // Nobody is given a token here.
  requireKeys(app, config.apiKeys, new AccessTokens(randomBytes(32)));
  metricsRoutes(app, metrics);
  healthRoutes(app, { jobs, loraFolder: config.loraDir, problem });
  handleNotFound(app);
  return app;
}
