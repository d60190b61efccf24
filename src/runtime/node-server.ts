/** What a node listens for: whoever watches over it. Clients talk to gateways. */
import type { FastifyInstance } from "fastify";
import type { Logger } from "pino";
import type { Disposers } from "../async/disposers.ts";
import type { Config } from "../config.ts";
import { buildNodeApp } from "../http/node-app.ts";
import { loadEncoder } from "../images/encode.ts";
import type { Jobs } from "../jobs/jobs.ts";
import type { Metrics } from "../observability/metrics.ts";
import type { ServedJobs } from "./fleet.ts";

export interface NodeServer {
  readonly url: string;
  readonly app: FastifyInstance;
  readonly jobs: Jobs;
  /** Resolves when it takes the work of its pool, or when `signal` fires. */
  joined(signal: AbortSignal): Promise<void>;
  drain(): Promise<void>;
  close(): Promise<void>;
}

export async function serveNode(
  served: ServedJobs,
  {
    config,
    log,
    metrics,
    open,
  }: { readonly config: Config; readonly log: Logger; readonly metrics: Metrics; readonly open: Disposers },
): Promise<NodeServer> {
  const { jobs, membership } = served;
  open.add(() => served.close());
  const app = buildNodeApp({ config, jobs, log, metrics, problem: () => membership?.problem });
  open.add(() => app.close());
  const url = await app.listen({ host: config.host, port: config.port });
  await loadEncoder();
  return {
    url,
    app,
    jobs,
    joined: async (signal) => membership?.joined(signal),
    drain: async () => {
      await served.drain(config.drainTimeoutMs);
      await open.close();
    },
    close: async () => {
      await served.close();
      await open.close();
    },
  };
}
