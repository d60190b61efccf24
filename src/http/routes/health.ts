/** `GET /health` tells how things are and is 200 while the process lives; `GET /ready` is 200 only when a job would start. */
import type { FastifyInstance } from "fastify";
import { LatentcastError } from "../../errors.ts";
import type { Orchestrator } from "../../jobs/service.ts";
import type { SlotState } from "../../worker/slot-state.ts";
import { sendError } from "../error-body.ts";

interface HealthFacts {
  readonly version: string;
  readonly shortcuts: readonly string[];
}

export function healthRoutes(app: FastifyInstance, orchestrator: Orchestrator, facts: HealthFacts): void {
  app.get("/health", () => {
    const { status, model, pool, dispatcher } = orchestrator;
    return {
      status: status.kind,
      ...facts,
      ...("loading" in status ? { loading: status.loading } : {}),
      ...("reason" in status ? { reason: status.reason } : {}),
      model:
        model === undefined
          ? null
          : { ...model, note: model.is_noise ? "random weights: every picture is noise" : null },
      queue: { waiting: dispatcher.waiting, unfinished: dispatcher.unfinished },
      workers: pool.slots.map((supervisor) => ({
        slot: supervisor.slot,
        pid: supervisor.pid ?? null,
        jobs: dispatcher.jobsInFlight(supervisor.slot),
        ...describeSlot(supervisor.state),
      })),
      counters: { ...pool.counters, stale: pool.counters.stale + dispatcher.stale, ...orchestrator.tally.totals },
    };
  });

  app.get("/ready", (_request, reply) => {
    const { status } = orchestrator;
    if (status.kind === "ready" || status.kind === "busy") return { status: status.kind };
    return sendError(reply, notReady(status.kind));
  });
}

function notReady(kind: "loading" | "draining" | "failed"): LatentcastError {
  if (kind === "draining") return new LatentcastError("draining");
  const message = kind === "loading" ? "The model is still loading." : "No worker could be started; see GET /health.";
  return new LatentcastError("worker_unavailable", { message, retryAfterSeconds: 2 });
}

function describeSlot(state: SlotState): object {
  const common = { state: state.kind, epoch: state.epoch, restarts: state.epoch - 1, last_error: state.lastError };
  switch (state.kind) {
    case "starting":
      return { ...common, loading: state.loading };
    case "ready": {
      const { device, versions, capabilities } = state.info;
      return { ...common, device, versions, max_batch: capabilities.max_batch };
    }
    default:
      return common;
  }
}
