import { describe, expect, it } from "vitest";
import { jobService } from "../../support/memory-service.ts";

describe("a job that is sent to a worker", () => {
  it("waits until the worker begins it, and has a position meanwhile", async () => {
    const { worker, submit, jobs } = await jobService();
    worker.ready();
    const all = [submit("a"), submit("b"), submit("c")];
    expect(worker.jobs).toEqual(["a", "b", "c"]);
    expect([jobs.waiting, ...all.map(({ position }) => position)]).toEqual([3, 0, 1, 2]);
    worker.start("a");
    expect([jobs.waiting, ...all.map(({ position }) => position)]).toEqual([2, 0, 0, 1]);
    worker.start("b");
    worker.start("c");
    expect(jobs.waiting).toBe(0);
    expect(jobs.snapshot()).toMatchObject({ status: "ready", queue: { waiting: 0, unfinished: 3 } });
  });

  it("of low priority is sent when it would begin at once, so that no later normal job waits behind it", async () => {
    const { worker, submit } = await jobService();
    worker.ready();
    submit("a");
    const low = submit("low", { priority: "low" });
    expect([worker.jobs, low.position]).toEqual([["a"], 1]);
    worker.start("a");
    submit("b");
    expect([worker.jobs, low.position]).toEqual([["a", "b"], 1]);
    worker.start("b");
    worker.finish("a");
    expect(worker.jobs).toEqual(["a", "b"]);
    worker.finish("b");
    expect(worker.jobs).toEqual(["a", "b", "low"]);
  });

  it("ends with the worker's result, once", async () => {
    const { worker, submit, ending } = await jobService();
    worker.ready();
    const job = submit("a");
    worker.start("a");
    worker.preview("a", 0);
    worker.finish("a");
    expect(await ending(job)).toMatchObject({ kind: "succeeded", result: { seed: 1, images: [{ width: 8 }] } });
    worker.finish("a");
    expect(job.ended?.kind).toBe("succeeded");
  });

  it("fails when the worker cancels it unasked", async () => {
    const { worker, submit } = await jobService();
    worker.ready();
    const job = submit("a");
    worker.confirmCancel("a");
    expect(job.ended).toMatchObject({ kind: "failed", error: { code: "internal_error" } });
  });

  it("is sent to the next worker when the first cannot be reached, which is ended", async () => {
    const { workers, worker, submit, eventually } = await jobService();
    worker.ready();
    worker.isReachable = false;
    submit("a");
    await eventually(() => expect(workers.started).toHaveLength(2));
    workers.of(0).ready();
    expect(workers.of(0).jobs).toEqual(["a"]);
  });
});

describe("a cancelled job", () => {
  it("ends at once, is cancelled on its worker once, and no longer counts as waiting", async () => {
    const { worker, submit, jobs } = await jobService();
    worker.ready();
    const job = submit("a");
    expect(jobs.cancel(job, "cancelled_by_client")).toBe(true);
    expect(jobs.cancel(job, "client_gone")).toBe(false);
    expect([worker.cancelled, jobs.waiting, job.ended]).toEqual([
      ["a"],
      0,
      { kind: "cancelled", reason: "cancelled_by_client" },
    ]);
    worker.confirmCancel("a");
    expect(jobs.snapshot()).toMatchObject({
      workers: [{ jobs: 0 }],
      counters: { cancelled: 1, cancelled_device_seconds: 0.5, stale: 0 },
    });
  });

  it("that no worker has is never sent to one", async () => {
    const { worker, submit, jobs } = await jobService();
    jobs.cancel(submit("a"), "cancelled_by_client");
    worker.ready();
    expect(worker.jobs).toEqual([]);
  });

  it("is abandoned by its last listener, unless it is kept", async () => {
    const { worker, submit } = await jobService();
    worker.ready();
    const gone = new AbortController();
    const [left, kept] = [submit("left"), submit("kept", { keep: true })];
    for (const job of [left, kept]) job.follow({ signal: gone.signal });
    gone.abort();
    expect([left.ended, kept.ended]).toEqual([{ kind: "cancelled", reason: "client_gone" }, undefined]);
  });
});

describe("a worker's death", () => {
  it("puts its jobs back to the head of the queue with their seeds; after a second one the job fails", async () => {
    const { workers, worker, submit, eventually } = await jobService();
    worker.ready({ max_jobs: 1 });
    const job = submit("a");
    submit("b");
    worker.start("a");
    worker.die("SIGKILL");
    await eventually(() => expect(workers.started).toHaveLength(2));
    expect(job.state.kind).toBe("queued");
    workers.of(0).ready({ max_jobs: 1 });
    expect(workers.of(0).jobs).toEqual(["a"]);
    workers.of(0).die("SIGKILL");
    await eventually(() => expect(job.ended).toMatchObject({ kind: "failed", error: { code: "worker_crashed" } }));
  });

  it("leaves a job that saw it alone on its next worker, until that job has ended", async () => {
    const { workers, worker, submit, eventually } = await jobService();
    worker.ready();
    submit("suspect");
    worker.die("SIGKILL");
    await eventually(() => expect(workers.started).toHaveLength(2));
    submit("b");
    const next = workers.of(0);
    next.ready();
    expect(next.jobs).toEqual(["suspect"]);
    next.start("suspect");
    next.finish("suspect");
    expect(next.jobs).toEqual(["suspect", "b"]);
  });
});

describe("a report", () => {
  it("about a job that its worker does not hold, or from a process that is gone, is counted and dropped", async () => {
    const { workers, worker, submit, jobs, eventually } = await jobService();
    worker.ready();
    worker.start("nobody");
    const job = submit("a");
    worker.die();
    await eventually(() => expect(workers.started).toHaveLength(2));
    worker.start("a");
    workers.garbage("w0.1");
    expect(job.state.kind).toBe("queued");
    expect(jobs.snapshot().counters).toMatchObject({ stale: 2, garbage: 1, restarts: 1 });
  });
});
