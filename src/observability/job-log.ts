/** A line when a job is accepted and one when it ends. The prompt is in them only where the operator asked for it. */
import type { Logger } from "pino";
import type { TerminalEvent } from "../jobs/events.ts";
import type { Job } from "../jobs/job.ts";
import type { JobObserver } from "../jobs/observer.ts";

export class JobLog implements JobObserver {
  readonly #log: Logger;
  readonly #withPrompts: boolean;

  constructor(log: Logger, withPrompts: boolean) {
    this.#log = log;
    this.#withPrompts = withPrompts;
  }

  accepted(job: Job): void {
    const { id, prompt, priority } = job;
    this.#log.info({ jobId: id, priority, ...sizesOf(job), ...(this.#withPrompts ? { prompt } : {}) }, "job accepted");
  }

  resolved(job: Job): void {
    this.#log.info({ jobId: job.id, ...sizesOf(job) }, "job fitted to the model, which is loaded now");
  }

  finished(job: Job, event: TerminalEvent): void {
    const now = performance.now();
    this.#log.info(
      {
        jobId: job.id,
        ...terminalFields(event),
        queueMs: job.startedAtMs === undefined ? null : Math.round(job.startedAtMs - job.acceptedAtMs),
        totalMs: Math.round(now - job.acceptedAtMs),
        workerDeaths: job.deaths,
      },
      `job ${event.kind}`,
    );
  }
}

/** Unknown until a model is loaded. */
function sizesOf({ request }: Job): object {
  if (request === undefined) return {};
  const { num_inference_steps: steps, width, height, num_images: numImages } = request.params;
  return { steps, width, height, numImages };
}

function terminalFields(event: TerminalEvent): object {
  if (event.kind === "succeeded") return {};
  return event.kind === "failed" ? { code: event.error.code } : { reason: event.reason };
}
