/** Several models in one server: which a request gets, and which worker draws it. */
import { describe, expect, it } from "vitest";
import { chooseModel } from "../../../src/jobs/choose-model.ts";
import { waitingJobs } from "../../../src/jobs/estimates.ts";
import { resolveRequest, type JobRequest } from "../../../src/jobs/request.ts";
import { soonestWorker, WorkerLoad } from "../../../src/jobs/worker-load.ts";
import type { ServedModel } from "../../../src/protocol/messages.ts";
import { generateInput, type GenerateInput } from "../../../src/schema/input.ts";
import type { ModelChoice, WorkerInfo } from "../../../src/worker/slot-state.ts";
import { job, servedModel, workerInfo } from "../../support/builders.ts";
import { jobService } from "../../support/memory-service.ts";
import type { MemoryWorker } from "../../support/memory-workers.ts";

const A = servedModel({ id: "a" });
const B: ServedModel = { ...servedModel({ id: "b", max_side: 64 }), is_loaded: false };
const BROKEN = { id: "broken", problem: "/home/x/broken is cut off" };

function choice(models: readonly ServedModel[] = [A, B], unserved: ModelChoice["unserved"] = [BROKEN]): ModelChoice {
  return { models, unserved };
}

function input(fields: Partial<GenerateInput> = {}) {
  return generateInput.parse({ prompt: "x", seed: 1, ...fields });
}

function chosen(model: string | undefined, of = choice()) {
  const { serving, warnings } = chooseModel({ input: input({ model }) }, of);
  return { id: serving.model.id, warnings };
}

describe("the model of a request", () => {
  it("is the one it names, and the first for one that names none", () => {
    expect(chosen("b")).toEqual({ id: "b", warnings: [] });
    expect(chosen(undefined)).toEqual({ id: "a", warnings: [] });
  });

  it("has to be there: the refusal names the field and lists the models", () => {
    expect(() => chosen("c")).toThrow('model: there is no model "c"; there is "a", "b", "broken"');
  });

  it("that cannot be served is answered with the reason, without folders", () => {
    expect(() => chosen("broken")).toThrow("This model cannot be loaded: …/broken is cut off");
  });

  it("is the only one on a server that has one, whatever it was called", () => {
    const { id, warnings } = chosen("c", choice([A], []));
    expect([id, warnings]).toEqual(["a", ['model "c" was ignored: this server has one model, "a"']]);
    expect(chosen("a", choice([A], []))).toEqual({ id: "a", warnings: [] });
  });

  it("follows the dialect's own rules where it has some", () => {
    const byRule = (rule: (names: readonly string[]) => string | undefined) =>
      chooseModel({ input: input({ model: "c" }), chooseModel: rule }, choice()).serving.model.id;
    expect(byRule((names) => names[1])).toBe("b");
    expect(byRule(() => undefined)).toBe("a");
  });
});

function request(served: ServedModel): JobRequest {
  return resolveRequest(input(), served, { maxPixels: 2 ** 24 });
}

function worker(slot: number, models: readonly ServedModel[]): WorkerLoad {
  return new WorkerLoad(slot, 1, { ...workerInfo(), model: A.model, choice: choice(models, []) });
}

function give(load: WorkerLoad, id: string, asked: JobRequest, stepsDone = 0) {
  const run = { job: job({ id, request: asked }), request: asked, isStarted: stepsDone > 0, stepsDone, totalSteps: 20 };
  load.runs.set(id, { ...run, cancelling: false });
}

describe("a worker with several models", () => {
  const loadedB = { ...B, is_loaded: true };
  const unloadedA = { ...A, is_loaded: false };

  it("gets the jobs of the model that it has loaded", () => {
    const workers = [worker(0, [A, B]), worker(1, [unloadedA, loadedB])];
    for (const [served, slot] of [
      [A, 0],
      [B, 1],
    ] as const)
      expect(soonestWorker(workers, { request: request(served), deaths: 0 })?.slot).toBe(slot);
  });

  it("gets a job of another model when those that have it loaded are busy for longer than loading takes", () => {
    const busy = worker(0, [A, B]);
    const idle = worker(1, [{ ...unloadedA, load_seconds: 3 }, loadedB]);
    give(busy, "1", request(A), 10);
    expect(soonestWorker([busy, idle], { request: request(A), deaths: 0 })?.slot).toBe(0);
    // Its newcomers come first, with a step of each.
    for (let index = 0; index < 40; index += 1) give(busy, `n${index}`, request(A));
    expect(soonestWorker([busy, idle], { request: request(A), deaths: 0 })?.slot).toBe(1);
  });

  it("knows the pace of each model, and takes one that was never loaded to be as fast as the first", () => {
    const load = worker(0, [A, B]);
    expect(load.stepSeconds(request(B))).toBeCloseTo(0.1);
    load.noteStep(request(B), 0.6);
    expect(load.stepSeconds(request(B))).toBeCloseTo(0.2);
    expect(load.stepSeconds(request(A))).toBeCloseTo(0.1);
    load.info = { ...load.info, choice: choice([A, { ...B, step_seconds: 3 }], []) } satisfies WorkerInfo;
    expect(worker(1, [A, { ...B, step_seconds: 3 }]).stepSeconds(request(B))).toBeCloseTo(3);
  });

  it("may take as long as loading takes while it draws nothing", () => {
    const load = worker(0, [A, B]);
    give(load, "1", request(B));
    expect(load.longestPiece()).toEqual({ seconds: null });
    give(load, "2", request(A), 1);
    expect(load.longestPiece()?.seconds).toBeCloseTo(0.1);
  });

  it("begins a job of another model when the others are done and it is loaded", () => {
    const load = worker(0, [A, { ...B, load_seconds: 5 }]);
    give(load, "1", request(A), 10);
    give(load, "2", request(B));
    expect(waitingJobs([load], []).map(({ startsInMs }) => startsInMs)).toEqual([6_000]);
    expect(load.wouldBegin({ request: request(B), deaths: 0 })).toBe(false);
  });
});

/** Ready with both, `a` loaded. */
function ready(process: MemoryWorker, models = [A, B]): void {
  process.say({ type: "models", models, unserved: [BROKEN] });
  process.ready();
}

describe("a service with several models", () => {
  it("lists them, and tells workers which one a job is for", async () => {
    const { jobs, worker: process, submit } = await jobService();
    expect(jobs.models).toEqual([]);
    const pending = submit("1", { input: { model: "b" } });
    ready(process);
    expect(jobs.models.map(({ id }) => id)).toEqual(["a", "b"]);
    submit("2");
    const models = process.received.flatMap((command) => (command.type === "generate" ? [command.params.model] : []));
    expect(models).toEqual(["b", "a"]);
    expect(pending.state.kind).toBe("queued");
  });

  it("shows what is loaded as it changes, and keeps the jobs that a worker holds", async () => {
    const { jobs, worker: process, submit, ending } = await jobService();
    ready(process);
    const drawn = submit("1", { input: { model: "b" } });
    process.say({
      type: "models",
      models: [
        { ...A, is_loaded: false },
        { ...B, is_loaded: true },
      ],
      unserved: [BROKEN],
    });
    process.start("1");
    const { models, unserved_models: unserved, workers } = jobs.snapshot();
    expect(models?.map(({ id, is_loaded: isLoaded }) => [id, isLoaded])).toEqual([
      ["a", false],
      ["b", true],
    ]);
    expect(unserved).toEqual([{ id: "broken", problem: "…/broken is cut off" }]);
    expect(workers[0]?.models).toEqual(["b"]);
    process.finish("1");
    expect(await ending(drawn)).toMatchObject({ kind: "succeeded" });
  });

  it("fails the jobs of a model that cannot be loaded with one sentence", async () => {
    const { worker: process, submit, ending } = await jobService();
    ready(process);
    const failing = submit("1", { input: { model: "b" } });
    const ref = { job_id: "1", incarnation: process.incarnation };
    process.say({ type: "failed", ...ref, code: "model_unavailable", message: "/models/b is cut off", field: null });
    const error = { code: "worker_unavailable", message: "This model cannot be loaded: …/b is cut off" };
    expect(await ending(failing)).toMatchObject({ kind: "failed", error });
  });

  it("refuses what the named model cannot make", async () => {
    const { worker: process, submit } = await jobService();
    ready(process);
    expect(() => submit("1", { input: { model: "b", width: 128 } })).toThrow(/width/);
    expect(() => submit("2", { input: { width: 128 } })).not.toThrow();
  });

  it("says nothing of several where a worker has one", async () => {
    const { jobs, worker: process } = await jobService();
    process.ready();
    expect(Object.keys(jobs.snapshot())).not.toContain("models");
  });
});
