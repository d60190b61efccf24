/** What one ready worker holds and how fast it is: the basis of admission, dispatch and estimates. */
import type { WorkerInfo } from "../worker/slot-state.ts";
import type { Job } from "./job.ts";
import { pixelsOf } from "./request.ts";

/** A job that a worker of a certain epoch holds. It outlives the job's own ending until the worker has confirmed. */
export interface Run {
  readonly job: Job;
  stepsDone: number;
  cancelling: boolean;
}

/** What decides where a job may run: its size, and whether it is suspected of killing workers. */
export type Placeable = Pick<Job, "request" | "deaths">;

/** Steps that the engine gives a newcomer ahead of older jobs. */
const EARLY_STEPS = 2;
/** Weight of the newest step in the running average: about the last ten steps count. */
const SMOOTHING = 0.2;

export class WorkerLoad {
  readonly slot: number;
  readonly epoch: number;
  readonly info: WorkerInfo;
  readonly runs = new Map<string, Run>();
  #secondsPerPixelStep: number;

  constructor(slot: number, epoch: number, info: WorkerInfo) {
    this.slot = slot;
    this.epoch = epoch;
    this.info = info;
    this.#secondsPerPixelStep = info.stepSeconds / (info.model.native_width * info.model.native_height);
  }

  /** A step of `job` took this long on the device. */
  noteStep(job: Job, seconds: number): void {
    const measured = seconds / pixelsOf(job.request);
    this.#secondsPerPixelStep += SMOOTHING * (measured - this.#secondsPerPixelStep);
  }

  stepSeconds(job: Placeable): number {
    return this.#secondsPerPixelStep * pixelsOf(job.request);
  }

  remainingSeconds(run: Run): number {
    return (run.job.request.steps - run.stepsDone) * this.stepSeconds(run.job);
  }

  /**
   * A job that was on a worker that died runs alone from then on: should this worker die too, it is known which job it was,
   * and nobody else's picture is lost with it.
   */
  hasRoomFor(job: Placeable): boolean {
    if (job.deaths > 0) return this.runs.size === 0;
    if ([...this.runs.values()].some((run) => run.job.deaths > 0)) return false;
    const { max_jobs: maxJobs, max_pixels: maxPixels } = this.info.capabilities;
    if (this.runs.size === 0) return true;
    return this.runs.size < maxJobs && this.#pixels() + pixelsOf(job.request) <= maxPixels;
  }

  /** When `job` would show its first preview here: the early steps of those who came just before it come first. */
  firstPreviewSeconds(job: Placeable): number {
    let seconds = this.stepSeconds(job);
    for (const run of this.runs.values()) {
      seconds += Math.max(0, EARLY_STEPS - run.stepsDone) * this.stepSeconds(run.job);
    }
    return seconds;
  }

  totalSeconds(): number {
    return [...this.runs.values()].reduce((sum, run) => sum + this.remainingSeconds(run), 0);
  }

  #pixels(): number {
    return [...this.runs.values()].reduce((sum, { job }) => sum + pixelsOf(job.request), 0);
  }
}

/** The worker on which `job` shows its first preview soonest; among equals the one with the least left to do. */
export function soonestWorker(workers: Iterable<WorkerLoad>, job: Placeable): WorkerLoad | undefined {
  let best: WorkerLoad | undefined;
  for (const worker of workers) {
    if (!worker.hasRoomFor(job)) continue;
    if (best === undefined || isSooner(worker, best, job)) best = worker;
  }
  return best;
}

function isSooner(a: WorkerLoad, b: WorkerLoad, job: Placeable): boolean {
  const difference = a.firstPreviewSeconds(job) - b.firstPreviewSeconds(job);
  return difference === 0 ? a.totalSeconds() < b.totalSeconds() : difference < 0;
}

/**
 * When each of `waiting` will start, in milliseconds. Engines finish their oldest job first, so the job at position p starts when
 * p + 1 jobs have ended. Null where no worker is ready.
 */
export function startEstimatesMs(workers: readonly WorkerLoad[], waiting: Iterable<Job>): (number | null)[] {
  const [first] = workers;
  if (first === undefined) return [...waiting].map(() => null);
  const running = workers.flatMap((worker) => [...worker.runs.values()].map((run) => worker.remainingSeconds(run)));
  const jobs = [...waiting];
  const ahead = [...running, ...jobs.map((job) => job.request.steps * first.stepSeconds(job))];
  let seconds = 0;
  return jobs.map((_, position) => {
    seconds += ahead[position] ?? 0;
    return Math.round((seconds * 1_000) / workers.length);
  });
}
