/** By when a job must have a model, and by when it must have started. */
import { after, type Timer } from "../async/timer.ts";
import type { Job } from "./job.ts";

export type MissedDeadline = "request_timeout" | "worker_unavailable";

/** Calls `miss` for the first deadline that passes; a job that has ended cancels its timers. */
export function startDeadlines(job: Job, miss: (code: MissedDeadline) => void): Timer[] {
  const { startTimeoutMs = Number.POSITIVE_INFINITY, modelTimeoutMs = Number.POSITIVE_INFINITY } = job.submission;
  const unlessStarted = (): void => {
    if (job.state.kind === "pending" || job.state.kind === "queued") miss("request_timeout");
  };
  const unlessResolved = (): void => {
    if (job.state.kind === "pending") miss("worker_unavailable");
  };
  const timers = [after(startTimeoutMs, unlessStarted, { unref: true })];
  return job.state.kind === "pending" ? [...timers, after(modelTimeoutMs, unlessResolved, { unref: true })] : timers;
}
