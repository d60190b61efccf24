import { describe, expect, it } from "vitest";
import { waitingJobs } from "../../../src/jobs/estimates.ts";
import type { Job } from "../../../src/jobs/job.ts";
import { soonestWorker, WorkerLoad, type Placeable } from "../../../src/jobs/worker-load.ts";
import { job, jobRequest, pendingJob, workerInfo } from "../../support/builders.ts";

function worker(slot = 0, capabilities = {}): WorkerLoad {
  return new WorkerLoad(slot, 1, workerInfo(capabilities));
}

function give(load: WorkerLoad, id: string, stepsDone = 0, request = jobRequest(), deaths = 0): Job {
  const subject = job({ id, request });
  subject.deaths = deaths;
  const totalSteps = request.params.num_inference_steps;
  load.runs.set(id, { job: subject, request, isStarted: stepsDone > 0, stepsDone, totalSteps, cancelling: false });
  return subject;
}

function placeable(input: Parameters<typeof jobRequest>[0] = {}, deaths = 0): Placeable {
  return { request: jobRequest(input), deaths };
}

describe("a worker's room", () => {
  it("is bounded by jobs and by pixels, and one job always fits", () => {
    const load = worker(0, { max_jobs: 2, max_pixels: 3 * 64 * 64 });
    const large = placeable({ width: 512, height: 512 });
    expect(load.hasRoomFor(large)).toBe(true);
    give(load, "a");
    expect(load.hasRoomFor(placeable())).toBe(true);
    expect(load.hasRoomFor(large)).toBe(false);
    give(load, "b");
    expect(load.hasRoomFor(placeable())).toBe(false);
  });

  it("takes a job that has seen a worker die only when the worker is empty", () => {
    const suspect = placeable({}, 1);
    const load = worker();
    give(load, "a");
    expect(load.hasRoomFor(suspect)).toBe(false);
    const empty = worker();
    expect(empty.hasRoomFor(suspect)).toBe(true);
    give(empty, "suspect", 0, suspect.request, 1);
    expect(empty.hasRoomFor(placeable())).toBe(false);
  });

  it("lets a job with previews begin beside others, and one without only where a call has room", () => {
    const load = worker(0, { max_batch: 2 });
    give(load, "a", 5);
    expect(load.wouldBegin(placeable({ preview: false }))).toBe(true);
    give(load, "b", 5);
    expect(load.wouldBegin(placeable({ preview: false }))).toBe(false);
    expect(load.wouldBegin(placeable())).toBe(true);
    give(load, "c");
    expect(load.wouldBegin(placeable())).toBe(false);
  });
});

describe("a worker's offer", () => {
  it("counts those with previews that it has not begun, and says when one more would show", () => {
    const load = worker();
    expect(load.offer()).toMatchObject({ hasRoom: true, held: 0, newcomers: 0, backlogSeconds: 0 });
    expect(load.offer().firstPreviewSeconds).toBeCloseTo(0.1);
    give(load, "settled", 5);
    give(load, "new");
    give(load, "without previews", 0, jobRequest({ preview: false }));
    expect(load.offer()).toMatchObject({ held: 3, newcomers: 1, rows: 1, stepSeconds: 0.1 });
    // Half of the call that runs, the first step of the newcomer, and its own.
    expect(load.offer().firstPreviewSeconds).toBeCloseTo(0.05 + 0.1 + 0.1);
    expect(load.offer().backlogSeconds).toBeCloseTo((15 + 20 + 20) * 0.1);
  });

  it("has no room where another image of the model's own size does not fit", () => {
    const load = worker(0, { max_pixels: 64 * 64 });
    give(load, "a");
    expect(load.offer().hasRoom).toBe(false);
  });

  it("forgets newcomers that were cancelled", () => {
    const load = worker();
    give(load, "a").finish({ kind: "cancelled", reason: "client_gone" });
    expect(load.offer()).toMatchObject({ held: 1, newcomers: 0 });
  });
});

describe("dispatch", () => {
  it("goes where the first preview comes soonest: fewest newcomers ahead", () => {
    const [crowded, settled] = [worker(0), worker(1)];
    give(crowded, "a", 0);
    for (const id of ["b", "c", "d"]) give(settled, id, 5);
    expect(soonestWorker([crowded, settled], placeable())).toBe(settled);
  });

  it("goes where least is left to do for a job without previews", () => {
    const [crowded, settled] = [worker(0), worker(1)];
    give(crowded, "a", 0);
    for (const id of ["b", "c", "d"]) give(settled, id, 5);
    expect(soonestWorker([crowded, settled], placeable({ preview: false }))).toBe(crowded);
  });

  it("goes where least is left to do among equals, and nowhere when all are full", () => {
    const [busy, idle] = [worker(0), worker(1)];
    give(busy, "a", 5);
    expect(soonestWorker([busy, idle], placeable())).toBe(idle);
    const full = worker(0, { max_jobs: 0 });
    give(full, "x");
    expect(soonestWorker([full], placeable())).toBeUndefined();
  });

  it("learns how fast a worker is", () => {
    const load = worker();
    expect(load.stepSeconds(jobRequest())).toBeCloseTo(0.1);
    for (let n = 0; n < 50; n += 1) load.noteStep(jobRequest(), 0.3);
    expect(load.stepSeconds(jobRequest())).toBeCloseTo(0.3, 3);
    expect(load.stepSeconds(jobRequest({ width: 128, height: 128 }))).toBeCloseTo(1.2, 2);
  });
});

describe("the longest piece of work", () => {
  it("is a step of the largest image for as many images as share a call, by the newest measurement", () => {
    const load = worker(0, { max_batch: 4 });
    expect(load.longestPiece()).toBeUndefined();
    const large = jobRequest({ width: 128, height: 128, num_images: 2 });
    give(load, "a", 0, large);
    expect(load.longestPiece()).toEqual({ seconds: expect.closeTo(0.8, 5) });
    load.noteStep(large, 1.6);
    expect(load.longestPiece()).toEqual({ seconds: expect.closeTo(1.6, 5) });
  });

  it("has more patience for the first image of a size where kernels are searched then", () => {
    const load = worker(0, { first_call_seconds: 600 });
    const [small, large] = [jobRequest(), jobRequest({ width: 128, height: 128 })];
    give(load, "a", 0, small);
    expect(load.longestPiece()).toMatchObject({ atLeastSeconds: 600 });
    load.noteDrawn(small);
    expect(load.longestPiece()).not.toHaveProperty("atLeastSeconds");
    give(load, "b", 0, large);
    expect(load.longestPiece()).toMatchObject({ atLeastSeconds: 600 });
  });

  it("is unknown on a worker that has measured nothing", () => {
    const load = new WorkerLoad(0, 1, { ...workerInfo(), stepSeconds: 0 });
    give(load, "a");
    expect(load.longestPiece()).toEqual({ seconds: null });
  });
});

describe("waiting jobs", () => {
  it("are those that no worker has begun: newcomers with previews, others by age, then those not sent yet", () => {
    const load = worker();
    give(load, "running", 10);
    const quiet = give(load, "quiet", 0, jobRequest({ preview: false }));
    const newcomer = give(load, "newcomer");
    const unsent = job({ id: "unsent" });
    const waiting = waitingJobs([load], [unsent]);
    expect(waiting.map((entry) => entry.job)).toEqual([newcomer, quiet, unsent]);
    expect(waiting.map(({ startsInMs }) => startsInMs)).toEqual([0, 1_000, 1_000]);
  });

  it("do not include one that was cancelled and is not confirmed yet", () => {
    const load = worker();
    give(load, "a").finish({ kind: "cancelled", reason: "client_gone" });
    expect(waitingJobs([load], [])).toEqual([]);
  });

  it("that are not sent yet start when as many jobs have ended, on all workers together", () => {
    const load = worker();
    give(load, "a", 10);
    const unsent = [job(), job()];
    const startsInMs = (workers: WorkerLoad[]): unknown[] =>
      waitingJobs(workers, unsent).map((waiting) => waiting.startsInMs);
    expect(startsInMs([load])).toEqual([1_000, 3_000]);
    expect(startsInMs([load, worker(1)])).toEqual([500, 1_500]);
  });

  it("have no estimate while no worker is ready", () => {
    expect(waitingJobs([], [pendingJob()])).toMatchObject([{ startsInMs: null }]);
  });
});
