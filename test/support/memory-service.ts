/** The job service with workers that the test plays itself. Nothing is spawned and nothing is sent. */
import pino from "pino";
import { vi } from "vitest";
import { isTerminal, type TerminalEvent } from "../../src/jobs/events.ts";
import type { JobObserver } from "../../src/jobs/observer.ts";
import type { Job } from "../../src/jobs/job.ts";
import { JobService, type JobServiceOptions } from "../../src/jobs/service.ts";
import type { Submission } from "../../src/jobs/submission.ts";
import { generateInput, type GenerateInput } from "../../src/schema/input.ts";
import { MemoryWorkers, type MemoryWorker } from "./memory-workers.ts";

export interface MemoryService {
  readonly jobs: JobService;
  readonly workers: MemoryWorkers;
  /** The first process of the first slot. */
  readonly worker: MemoryWorker;
  /** A job of 20 steps with seed 1. */
  submit(id: string, options?: MemorySubmission): Job;
  submission(id: string, options?: MemorySubmission): Submission;
  ending(job: Job): Promise<TerminalEvent>;
  /** Waits through promises and backoffs. */
  eventually(check: () => void): Promise<void>;
}

export interface MemorySubmission extends Omit<Submission, "input"> {
  readonly input?: Partial<GenerateInput>;
}

export async function jobService({
  slots = 1,
  config = {},
  observers = [],
}: {
  slots?: number;
  config?: Partial<JobServiceOptions["config"]>;
  observers?: readonly JobObserver[];
} = {}): Promise<MemoryService> {
  const workers = new MemoryWorkers();
  const jobs = await JobService.start({
    config: {
      queueLimit: 100,
      maxPixels: 2 ** 24,
      metadata: false,
      shortcuts: [],
      startTimeoutMs: 60_000,
      stallTimeoutMs: 30_000,
      ...config,
    },
    version: "0",
    observers,
    log: pino({ level: "silent" }),
    workers: workers.options(slots),
  });
  // The launch of a process is asynchronous, be it ever so short.
  await vi.waitFor(() => {
    for (let slot = 0; slot < slots; slot += 1) workers.of(slot);
  });
  const submission = (id: string, { input = {}, ...options }: MemorySubmission = {}): Submission => ({
    id,
    input: generateInput.parse({ prompt: "x", seed: 1, ...input }),
    ...options,
  });
  return {
    jobs,
    workers,
    worker: workers.of(0),
    submission,
    submit: (id, options) => jobs.submit(submission(id, options)),
    ending: async (job) => {
      for await (const { event } of job.follow()) if (isTerminal(event)) return event;
      throw new Error("a job without an ending");
    },
    eventually: (check) => vi.waitFor(check, { timeout: 50_000, interval: 5 }),
  };
}
