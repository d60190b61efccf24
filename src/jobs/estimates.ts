/** The jobs that have not begun to be drawn, in the order in which they will, and when that will be. */
import { executedSteps } from "../protocol/params.ts";
import type { Job } from "./job.ts";
import { isEager, type WorkerLoad } from "./worker-load.ts";

export interface Waiting {
  readonly job: Job;
  /** Null while it is unknown. */
  readonly startsInMs: number | null;
}

/** @param queue What no worker has, in serving order. */
export function waitingJobs(workers: Iterable<WorkerLoad>, queue: Iterable<Job>): Waiting[] {
  const ready = [...workers];
  return [...ready.flatMap(sentAhead).toSorted(bySoonest), ...notSent(ready, [...queue])];
}

/** What a worker holds and has not begun. Its engine gives newcomers with previews their early steps, then finishes the oldest first. */
function sentAhead(worker: WorkerLoad): Waiting[] {
  const runs = [...worker.runs.values()];
  let earlySeconds = runs.filter(({ isStarted }) => isStarted).reduce((sum, run) => sum + worker.earlySeconds(run), 0);
  return worker.unstarted.map((run) => {
    const loadSeconds = worker.loadSeconds(run.request);
    const startsInSeconds =
      isEager(run.request) && loadSeconds === 0
        ? earlySeconds
        : loadSeconds +
          runs.slice(0, runs.indexOf(run)).reduce((sum, ahead) => sum + worker.remainingSeconds(ahead), 0);
    earlySeconds += worker.earlySeconds(run);
    return { job: run.job, startsInMs: Math.round(startsInSeconds * 1_000) };
  });
}

/** What has not been sent: full workers have room again when a job ends, so the job at place p is sent when p + 1 have ended. */
function notSent(workers: readonly WorkerLoad[], jobs: readonly Job[]): Waiting[] {
  const [first] = workers;
  if (first === undefined) return jobs.map((job) => ({ job, startsInMs: null }));
  const running = workers.flatMap((worker) => [...worker.runs.values()].map((run) => worker.remainingSeconds(run)));
  const ahead = [
    ...running,
    ...jobs.map(({ request }) =>
      request === undefined ? 0 : executedSteps(request.params) * first.stepSeconds(request),
    ),
  ];
  let seconds = 0;
  return jobs.map((job, place) => {
    seconds += ahead[place] ?? 0;
    return { job, startsInMs: Math.round((seconds * 1_000) / workers.length) };
  });
}

function bySoonest(a: Waiting, b: Waiting): number {
  return (a.startsInMs ?? 0) - (b.startsInMs ?? 0);
}
