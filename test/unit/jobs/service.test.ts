import { describe, expect, it } from "vitest";
import { serviceSnapshot } from "../../../src/schema/health.ts";
import { inputImages } from "../../support/images.ts";
import { jobService } from "../../support/memory-service.ts";

describe("a job that is accepted before a model is loaded", () => {
  it("is pending, then becomes what the model makes of it, with the seed that it had from the start", async () => {
    const { worker, submit } = await jobService();
    const job = submit("a", { input: { seed: null } });
    expect([job.state.kind, job.request]).toEqual(["pending", undefined]);
    worker.ready();
    expect(await job.resolved).toMatchObject({ params: { width: 64, seed: job.seed } });
    expect(worker.jobs).toEqual(["a"]);
  });

  it("fails with the fields that the model cannot serve, and no other job does", async () => {
    const { worker, submit } = await jobService();
    const [wrong, right] = [submit("wrong", { input: { width: 2048 } }), submit("right")];
    worker.ready();
    await expect(wrong.resolved).rejects.toMatchObject({
      code: "invalid_request",
      fields: [{ loc: ["body", "width"] }],
    });
    expect([wrong.ended?.kind, right.state.kind]).toEqual(["failed", "queued"]);
  });

  it("fails when no model was loaded within the time that it waits", async () => {
    const { submit } = await jobService();
    const job = submit("a", { modelTimeoutMs: 5 });
    await expect(job.resolved).rejects.toMatchObject({ code: "worker_unavailable", retryAfterSeconds: 10 });
  });

  it("fails when no worker can be started at all", async () => {
    const { worker, submit, jobs, eventually } = await jobService();
    const job = submit("a");
    worker.say({ type: "fatal", code: "model_not_found", message: "no such folder" });
    worker.die();
    await eventually(() => expect(job.ended).toMatchObject({ kind: "failed", error: { code: "worker_unavailable" } }));
    expect(() => submit("b")).toThrow(expect.objectContaining({ code: "worker_unavailable" }));
    expect(jobs.snapshot()).toMatchObject({ status: "failed", reason: "no such folder" });
    await expect(jobs.modelLoaded()).rejects.toMatchObject({ code: "worker_unavailable" });
  });
});

describe("a job that the loaded model cannot make", () => {
  it("is refused, and takes no place", async () => {
    const { worker, submit, jobs } = await jobService();
    worker.ready();
    expect(() => submit("a", { input: { width: 2048 } })).toThrow(expect.objectContaining({ code: "invalid_request" }));
    expect([jobs.waiting, jobs.snapshot().counters.accepted]).toEqual([0, 0]);
  });
});

describe("an admission", () => {
  it("counts as waiting until it is used or released", async () => {
    const { jobs, submission } = await jobService();
    const [used, released] = [jobs.admit(submission("a")), jobs.admit(submission("b"))];
    expect(jobs.waiting).toBe(2);
    jobs.submit(submission("a"), used);
    expect(jobs.waiting).toBe(2);
    released.release();
    released.release();
    expect(jobs.waiting).toBe(1);
  });

  it("can be used once", async () => {
    const { jobs, submission } = await jobService();
    const admission = jobs.admit(submission("a"));
    jobs.submit(submission("a"), admission);
    expect(() => jobs.submit(submission("b"), admission)).toThrow(TypeError);
    expect(jobs.snapshot().counters.accepted).toBe(1);
  });

  it("is released when its job is refused", async () => {
    const { worker, jobs, submission } = await jobService();
    worker.ready();
    const wrong = submission("a", { input: { width: 2048 } });
    const admission = jobs.admit(wrong);
    expect(() => jobs.submit(wrong, admission)).toThrow("pixels");
    expect(jobs.waiting).toBe(0);
  });

  it("is refused at the limit, counted in jobs that have not begun, but not to what was accepted before", async () => {
    const { worker, submit, jobs, submission } = await jobService({ config: { queueLimit: 2 } });
    worker.ready();
    for (const id of ["a", "b"]) submit(id);
    const refused = expect.objectContaining({ code: "queue_full", retryAfterSeconds: expect.any(Number) });
    expect(() => submit("c")).toThrow(refused);
    jobs.admit(submission("known"), { isKnown: true }).release();
    worker.start("a");
    submit("c");
    expect(() => submit("d")).toThrow(refused);
  });

  it("is refused to a client that would wait behind more jobs than it allows", async () => {
    const { worker, submit, jobs, submission } = await jobService();
    worker.ready();
    submit("a");
    expect(() => jobs.admit(submission("b"), { maxWaiting: 0 })).toThrow(
      expect.objectContaining({ code: "queue_full" }),
    );
    worker.start("a");
    jobs.admit(submission("b"), { maxWaiting: 0 }).release();
  });

  it("with a limit of 0 is given only to what begins at once", async () => {
    const { worker, submit } = await jobService({ config: { queueLimit: 0 } });
    expect(() => submit("early")).toThrow(expect.objectContaining({ code: "queue_full" }));
    worker.ready();
    submit("a");
    expect(() => submit("b")).toThrow(expect.objectContaining({ code: "queue_full" }));
    worker.start("a");
    submit("b");
  });
});

describe("a deadline for the start", () => {
  it("ends a job that has not started, with or without a model", async () => {
    const { worker, submit, ending } = await jobService();
    const pending = submit("pending", { startTimeoutMs: 5 });
    expect(await ending(pending)).toMatchObject({ kind: "failed", error: { code: "request_timeout" } });
    worker.ready();
    const sent = submit("sent", { startTimeoutMs: 5 });
    expect(await ending(sent)).toMatchObject({ kind: "failed", error: { code: "request_timeout" } });
    expect(worker.cancelled).toEqual(["sent"]);
  });

  it("does not end a job that has started", async () => {
    const { worker, submit, ending } = await jobService();
    worker.ready();
    const [started, late] = [submit("started", { startTimeoutMs: 5 }), submit("late", { startTimeoutMs: 5 })];
    worker.start("started");
    await ending(late);
    expect(started.state.kind).toBe("running");
  });
});

describe("draining", () => {
  it("finishes what workers have, refuses what comes, then ends the workers", async () => {
    const { worker, submit, jobs, ending } = await jobService();
    worker.ready({ max_jobs: 1 });
    const all = [submit("a"), submit("b")];
    const drained = jobs.drain(60_000);
    expect(() => submit("c")).toThrow(expect.objectContaining({ code: "draining" }));
    expect(jobs.snapshot().status).toBe("draining");
    for (const id of ["a", "b"]) {
      worker.start(id);
      worker.finish(id);
    }
    for (const job of all) expect((await ending(job)).kind).toBe("succeeded");
    await drained;
    expect([worker.received.at(-1)?.type, jobs.phase]).toEqual(["shutdown", "closed"]);
  });

  it("cancels what is left when its time is over", async () => {
    const { worker, submit, jobs } = await jobService();
    worker.ready();
    const job = submit("a", { keep: true });
    worker.start("a");
    await jobs.drain(5);
    expect(job.ended).toEqual({ kind: "cancelled", reason: "shutdown" });
  });

  it("does not wait for a model that is still loading", async () => {
    const { submit, jobs } = await jobService();
    const job = submit("a");
    await jobs.drain(60_000);
    expect(job.ended).toEqual({ kind: "cancelled", reason: "shutdown" });
  });

  it("ends when the last worker dies: its jobs end with `shutdown`, and no other worker is started", async () => {
    const { workers, worker, submit, jobs } = await jobService();
    worker.ready();
    const all = [submit("a", { keep: true }), submit("b")];
    worker.start("a");
    const drained = jobs.drain(60_000);
    worker.die("SIGTERM");
    await drained;
    for (const job of all) expect([job.ended, job.deaths]).toEqual([{ kind: "cancelled", reason: "shutdown" }, 0]);
    expect(workers.started).toHaveLength(1);
  });

  it("gives the jobs of a worker that died to another one", async () => {
    const { workers, submit, jobs, eventually } = await jobService({ slots: 2 });
    workers.of(0).ready();
    submit("a", { keep: true });
    workers.of(1).ready();
    const drained = jobs.drain(60_000);
    workers.of(0).die("SIGTERM");
    await eventually(() => expect(workers.of(1).jobs).toEqual(["a"]));
    workers.of(1).start("a");
    workers.of(1).finish("a");
    await drained;
    expect(jobs.snapshot().counters).toMatchObject({ succeeded: 1, cancelled: 0 });
  });
});

describe("closing", () => {
  it("ends every job at once, wherever it is", async () => {
    const { worker, submit, jobs } = await jobService();
    worker.ready({ max_jobs: 2 });
    const all = ["running", "sent", "queued"].map((id) => submit(id));
    worker.start("running");
    await jobs.close();
    for (const job of all) expect(job.ended).toEqual({ kind: "cancelled", reason: "shutdown" });
    await expect(jobs.modelLoaded()).resolves.toMatchObject({ id: "test" });
  });
});

describe("a snapshot", () => {
  it("is what GET /health documents", async () => {
    const { worker, submit, jobs } = await jobService({ slots: 2 });
    serviceSnapshot.parse(jobs.snapshot());
    worker.ready();
    submit("a");
    submit("b");
    worker.start("a");
    expect(serviceSnapshot.parse(jobs.snapshot())).toMatchObject({
      status: "busy",
      model: { id: "test", note: "random weights: every image is noise" },
      queue: { waiting: 1, unfinished: 2 },
      workers: [
        { slot: 0, state: "ready", jobs: 2, restarts: 0, device: { id: "cpu" } },
        { slot: 1, state: "starting", jobs: 0, loading: { stage: "spawn" } },
      ],
      counters: { accepted: 2, succeeded: 0 },
    });
  });
});

describe("a job that starts from an image", () => {
  it("is sent with its pixels, and with the same ones again when its worker has died", async () => {
    const { worker, workers, submit, eventually } = await jobService({ slots: 2 });
    worker.ready();
    submit("a", { inputs: inputImages(64, 64, { hasMask: true }) });
    await eventually(() => expect(worker.jobs).toEqual(["a"]));
    workers.of(1).ready();
    worker.die();
    await eventually(() => expect(workers.of(1).jobs).toEqual(["a"]));
    const [before, after] = [worker.payloads.at(-1), workers.of(1).payloads.at(-1)];
    expect(before?.map(({ byteLength }) => byteLength)).toEqual([64 * 64 * 3, 64 * 64]);
    expect(after).toEqual(before);
  });

  it("holds its pixels until it ends, and not when it is refused", async () => {
    const { jobs, worker, submit, ending } = await jobService();
    worker.ready();
    const inputs = inputImages(64, 64);
    const job = submit("a", { inputs });
    await inputs.fit({ width: 64, height: 64 });
    expect(inputs.frames).toHaveLength(1);
    jobs.cancel(job, "client_gone");
    await ending(job);
    const refused = inputImages(64, 64);
    expect(() => submit("b", { inputs: refused, input: { width: 2048 } })).toThrow("width");
    await refused.fit({ width: 64, height: 64 });
    expect([inputs.frames, refused.frames]).toEqual([undefined, undefined]);
  });

  it("is drawn after it was accepted before a model was loaded", async () => {
    const { worker, submit, eventually } = await jobService();
    const job = submit("a", { inputs: inputImages(1_000, 500) });
    worker.ready();
    await eventually(() => expect(worker.jobs).toEqual(["a"]));
    expect(job.request?.params).toMatchObject({ width: 88, height: 64, strength: 0.95 });
  });

  it("has as many steps as the worker reports", async () => {
    const { worker, submit, eventually } = await jobService();
    worker.ready();
    const job = submit("a", { inputs: inputImages(64, 64), input: { strength: 0.5 } });
    await eventually(() => expect(worker.jobs).toEqual(["a"]));
    worker.start("a", 10);
    worker.step("a", 0);
    const events: unknown[] = [];
    for await (const { event } of job.follow()) {
      events.push(event);
      if (event.kind === "progress") break;
    }
    expect(events.slice(-2)).toEqual([
      { kind: "started", totalSteps: 10 },
      { kind: "progress", step: 0, totalSteps: 10 },
    ]);
  });

  it("is never sent when it is cancelled before its pixels are ready", async () => {
    const { jobs, worker, submit, ending } = await jobService();
    worker.ready();
    const job = submit("a", { inputs: inputImages(2_000, 2_000) });
    jobs.cancel(job, "client_gone");
    expect(await ending(job)).toMatchObject({ kind: "cancelled" });
    await job.submission.inputs?.fit({ width: 64, height: 64 });
    expect(worker.jobs).toEqual([]);
  });
});
