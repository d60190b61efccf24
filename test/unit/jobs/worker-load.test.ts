import { describe, expect, it } from "vitest";
import { soonestWorker, startEstimatesMs, WorkerLoad } from "../../../src/jobs/worker-load.ts";
import { job, jobRequest, workerInfo } from "../../support/builders.ts";

function worker(slot = 0, capabilities = {}): WorkerLoad {
  return new WorkerLoad(slot, 1, workerInfo(capabilities));
}

function give(load: WorkerLoad, id: string, stepsDone = 0, subject = job({ id })): void {
  load.runs.set(id, { job: subject, stepsDone, cancelling: false });
}

describe("admission", () => {
  it("is bounded by jobs and by pixels, and one job always fits", () => {
    const load = worker(0, { max_jobs: 2, max_pixels: 3 * 64 * 64 });
    const large = job({ request: jobRequest({ width: 512, height: 512 }) });
    expect(load.hasRoomFor(large)).toBe(true);
    give(load, "a");
    expect(load.hasRoomFor(job())).toBe(true);
    expect(load.hasRoomFor(large)).toBe(false);
    give(load, "b");
    expect(load.hasRoomFor(job())).toBe(false);
  });

  it("keeps a job that has seen a worker die alone", () => {
    const suspect = job({ id: "suspect" });
    suspect.deaths = 1;
    const load = worker();
    give(load, "a");
    expect(load.hasRoomFor(suspect)).toBe(false);
    const empty = worker();
    expect(empty.hasRoomFor(suspect)).toBe(true);
    give(empty, "suspect", 0, suspect);
    expect(empty.hasRoomFor(job())).toBe(false);
  });
});

describe("dispatch", () => {
  it("goes where the first preview comes soonest: fewest newcomers ahead", () => {
    const [crowded, settled] = [worker(0), worker(1)];
    give(crowded, "a", 0);
    for (const id of ["b", "c", "d"]) give(settled, id, 5);
    expect(soonestWorker([crowded, settled], job())).toBe(settled);
  });

  it("goes where least is left to do among equals, and nowhere when all are full", () => {
    const [busy, idle] = [worker(0), worker(1)];
    give(busy, "a", 5);
    expect(soonestWorker([busy, idle], job())).toBe(idle);
    expect(
      soonestWorker(
        [worker(0, { max_jobs: 0 })].map((load) => (give(load, "x"), load)),
        job(),
      ),
    ).toBeUndefined();
  });

  it("learns how fast a worker is", () => {
    const load = worker();
    const subject = job();
    expect(load.stepSeconds(subject)).toBeCloseTo(0.1);
    for (let n = 0; n < 50; n += 1) load.noteStep(subject, 0.3);
    expect(load.stepSeconds(subject)).toBeCloseTo(0.3, 3);
    expect(load.stepSeconds(job({ request: jobRequest({ width: 128, height: 128 }) }))).toBeCloseTo(1.2, 2);
  });
});

describe("start estimates", () => {
  it("count the jobs that must end first, on all workers together", () => {
    const load = worker();
    give(load, "a", 10);
    const waiting = [job(), job()];
    expect(startEstimatesMs([load], waiting)).toEqual([1_000, 3_000]);
    expect(startEstimatesMs([load, worker(1)], waiting)).toEqual([500, 1_500]);
  });

  it("are unknown while no worker is ready", () => {
    expect(startEstimatesMs([], [job()])).toEqual([null]);
  });
});
