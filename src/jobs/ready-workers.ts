/** The workers that are ready, with what each holds: who takes a job next, and who has it. */
import type { WorkerInfo } from "../worker/slot-state.ts";
import type { Job } from "./job.ts";
import type { JobRequest } from "./request.ts";
import { soonestWorker, WorkerLoad, type HeldJob } from "./worker-load.ts";

export class ReadyWorkers {
  readonly #bySlot = new Map<number, WorkerLoad>();

  /** A slot's process is ready; it holds nothing yet. */
  add(slot: number, incarnation: number, info: WorkerInfo): void {
    this.#bySlot.set(slot, new WorkerLoad(slot, incarnation, info));
  }

  get(slot: number): WorkerLoad | undefined {
    return this.#bySlot.get(slot);
  }

  values(): Iterable<WorkerLoad> {
    return this.#bySlot.values();
  }

  /** Undefined, and nothing is removed, when the process of the slot is another one. */
  remove(slot: number, incarnation: number): WorkerLoad | undefined {
    const worker = this.#bySlot.get(slot);
    if (worker?.incarnation !== incarnation) return undefined;
    this.#bySlot.delete(slot);
    return worker;
  }

  /** Whether some worker would begin it at once. */
  wouldBegin(request: JobRequest): boolean {
    return [...this.#bySlot.values()].some((worker) => worker.wouldBegin({ request, deaths: 0 }));
  }

  /** The worker that is to take the job now; undefined when it has to wait. */
  nextFor({ priority, deaths }: Job, request: JobRequest): WorkerLoad | undefined {
    const workers = [...this.#bySlot.values()];
    // A worker cannot put a normal job ahead of a low one that it has; so low ones are sent when they would begin at once.
    const eligible =
      priority === "normal" ? workers : workers.filter((worker) => worker.unstarted.length === 0 && worker.hasIdleRows);
    return soonestWorker(eligible, { request, deaths });
  }

  /** Who holds the job; usually one worker or none. */
  holdersOf(job: Job): { readonly worker: WorkerLoad; readonly run: HeldJob }[] {
    return [...this.#bySlot.values()].flatMap((worker) => {
      const run = worker.runs.get(job.id);
      return run === undefined ? [] : [{ worker, run }];
    });
  }
}
