/**
 * An interactive job at its gateway, drawn somewhere else. The gateway decides which run of it counts: the newest that asked. What an
 * older one says is ignored, so a job ends once and its events never go back, however many nodes believe that they have it.
 */
import type { EncodedImage } from "../../jobs/events.ts";
import type { Job } from "../../jobs/job.ts";
import type { JobRequest } from "../../jobs/request.ts";
import { ImageAssembly } from "../image-parts.ts";
import type { PoolRequest } from "./placement.ts";
import type { PoolView } from "../pool/pool-view.ts";
import { isNewer, isSameRun, type JobMessageOf, type RunNumber } from "../wire.ts";

export interface RunClaim {
  readonly node: string;
  readonly incarnation: string;
  readonly run: RunNumber;
  /** Where the delivery can be taken from the node. */
  readonly ack: string;
}

export class RemoteJob {
  readonly job: Job;
  /** Whose nodes draw it. */
  readonly pool: PoolView;
  readonly request: JobRequest;
  /** Counts the tickets that were made for it. */
  attempt = 1;
  /** Nodes that died with it. */
  deaths = 0;
  /** When its ticket was last known to be in the queue; Infinity before it has been there. */
  seenInQueueMs = Number.POSITIVE_INFINITY;
  #claim: RunClaim | undefined;
  /** The newest run that asked; later ones only are let in. */
  #newest: RunNumber = { attempt: 0, delivery: 0 };
  #heardMs: number;
  #preview = { step: -1, assembly: new ImageAssembly() };
  #result = new ImageAssembly();

  constructor(job: Job, { pool, request }: PoolRequest, nowMs: number) {
    this.job = job;
    this.pool = pool;
    this.request = request;
    this.#heardMs = nowMs;
  }

  /** The node that has it; undefined while it waits. */
  get claim(): RunClaim | undefined {
    return this.#claim;
  }

  /** When its node last said anything about it. */
  get heardMs(): number {
    return this.#heardMs;
  }

  get newest(): RunNumber {
    return this.#newest;
  }

  /** Whether the run may begin. The same question twice gets the same answer. */
  claimed(claim: RunClaim, nowMs: number): boolean {
    // A ticket that is in the queue twice has the same numbers twice, and other deliveries.
    const isRepeated = claim.ack === this.#claim?.ack && claim.incarnation === this.#claim.incarnation;
    if (!isRepeated && !isNewer(claim.run, this.#newest)) return false;
    if (!isRepeated) {
      this.#newest = claim.run;
      this.#preview = { step: -1, assembly: new ImageAssembly() };
      this.#result = new ImageAssembly();
      // The one before it was not known to have gone.
      if (this.#claim !== undefined) this.job.requeue();
    }
    this.#claim = claim;
    this.#heardMs = nowMs;
    return true;
  }

  /** Whether what this run says counts. */
  isCurrent(run: RunNumber): boolean {
    return this.#claim !== undefined && isSameRun(run, this.#claim.run);
  }

  heard(nowMs: number): void {
    this.#heardMs = nowMs;
  }

  /** Nobody has it any more: its ticket is, or will be, in the queue again. */
  returned(nowMs: number): void {
    this.#claim = undefined;
    this.seenInQueueMs = nowMs;
    this.job.requeue();
  }

  /** The images of a preview, once all of it has come. What is left of an older one is forgotten. */
  previewPart({ step, part }: JobMessageOf<"preview">, bytes: Buffer): EncodedImage[] | undefined {
    if (step < this.#preview.step) return undefined;
    if (step > this.#preview.step) this.#preview = { step, assembly: new ImageAssembly() };
    this.#preview.assembly.add({ part, bytes });
    return this.#preview.assembly.images;
  }

  resultPart({ part }: JobMessageOf<"result">, bytes: Buffer): void {
    this.#result.add({ part, bytes });
  }

  /** Undefined while parts of it are missing. */
  get resultImages(): EncodedImage[] | undefined {
    return this.#result.images;
  }
}
