/** `GET /health` describes the service and is 200 while the process lives; `GET /ready` is 200 only when a job would start. */
import type { FastifyInstance } from "fastify";
import { LatentcastError } from "../../errors.ts";
import type { Jobs } from "../../jobs/jobs.ts";
import type { Health } from "../../schema/health.ts";
import { documented } from "../documented.ts";
import { sendError } from "../error-body.ts";
import { listLoras } from "../lora-folder.ts";
import { healthOperation, readyOperation } from "../operations/service.ts";

export interface HealthOptions {
  readonly jobs: Jobs;
  readonly loraFolder: string | null;
  /** Why no job would start, whatever the workers say. */
  readonly problem?: () => string | undefined;
}

export function healthRoutes(app: FastifyInstance, { jobs, loraFolder, problem }: HealthOptions): void {
  app.get("/health", documented(healthOperation), async (): Promise<Health> => {
    const loras = await listLoras(loraFolder);
    return { ...jobs.snapshot(), loras: loras.map(({ path }) => path) };
  });

  app.get("/ready", documented(readyOperation), (_request, reply) => {
    const { status } = jobs.snapshot();
    if (status !== "ready" && status !== "busy") return sendError(reply, notReady(status));
    const reason = problem?.();
    return reason === undefined ? { status } : sendError(reply, unavailable(`Not ready: ${reason}.`));
  });
}

function notReady(status: "loading" | "draining" | "failed"): LatentcastError {
  if (status === "draining") return new LatentcastError("draining");
  const message = status === "loading" ? "The model is still loading." : "No worker could be started; see GET /health.";
  return unavailable(message);
}

function unavailable(message: string): LatentcastError {
  return new LatentcastError("worker_unavailable", { message, retryAfterSeconds: 2 });
}
