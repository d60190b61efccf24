/** Jobs without workers: what happens to them is what a test says. */
import { Admission } from "../../src/jobs/admission.ts";
import type { CancelReason, EncodedImage, JobResult } from "../../src/jobs/events.ts";
import { Job } from "../../src/jobs/job.ts";
import type { AdmitOptions } from "../../src/jobs/jobs.ts";
import { drawSeed, type Submission } from "../../src/jobs/submission.ts";
import type { LatentcastError } from "../../src/errors.ts";
import { jobRequest } from "./builders.ts";

export class FakeJobs {
  readonly byId = new Map<string, Job>();
  /** Thrown by `admit`, or by `submit`. */
  refusal: LatentcastError | undefined;
  failure: LatentcastError | undefined;
  /** Places that are promised and not taken. */
  promised = 0;

  admit(_submission: Submission, _options: AdmitOptions = {}): Admission {
    if (this.refusal !== undefined) throw this.refusal;
    this.promised += 1;
    return new Admission(() => {
      this.promised -= 1;
    });
  }

  submit(submission: Submission, admission: Admission = this.admit(submission)): Job {
    admission.consume();
    if (this.failure !== undefined) throw this.failure;
    const { id = "" } = submission;
    const job = new Job({ ...submission, id, input: drawSeed(submission.input) }, 0, () => undefined);
    // A node names each run of a request: `id.revision`.
    this.byId.set(id.split(".")[0] ?? id, job);
    job.queued(this.byId.size - 1, null);
    return job;
  }

  cancel(job: Job, reason: CancelReason): boolean {
    return job.finish({ kind: "cancelled", reason });
  }

  /** Begins to draw it. */
  start(id: string): Job {
    const job = this.byId.get(id)!;
    job.resolve(jobRequest());
    job.start(1, 20);
    return job;
  }

  succeed(id: string, images: readonly EncodedImage[] = []): void {
    const job = this.byId.get(id)!;
    const timings = { queueMs: 1, inferenceMs: 2, firstPreviewMs: null };
    const result: JobResult = { images, seed: job.seed, prompt: job.prompt, timings, warnings: [] };
    job.finish({ kind: "succeeded", result });
  }
}
