/** What HTTP, the queue and programs in this process know of jobs: one machine's own workers, or a fleet of machines, serve them. */
import type { ModelInfo } from "../protocol/messages.ts";
import type { ServiceSnapshot } from "../schema/health.ts";
import type { Admission } from "./admission.ts";
import type { CancelReason } from "./events.ts";
import type { Job } from "./job.ts";
import type { Phase } from "./status.ts";
import type { Submission } from "./submission.ts";

export interface AdmitOptions {
  /** Refuses with `queue_full` when more than this many are waiting, though the service would take it. */
  readonly maxWaiting?: number | undefined;
  /** It was accepted before, by this server or an earlier one: the limit is not applied again. */
  readonly isKnown?: boolean;
}

/** What says which model is asked for. */
export type NamedSubmission = Pick<Submission, "input" | "chooseModel">;

export interface Jobs {
  /** What requests get that name no model; undefined until the first worker is ready. */
  readonly model: ModelInfo | undefined;
  /** All that requests may name, that one first; empty until the first worker is ready. */
  readonly models: readonly ModelInfo[];
  /** Whether it takes jobs, finishes those it has, or has ended. */
  readonly phase: Phase;
  /** Jobs that no worker has begun, admitted ones that are not yet submitted included. */
  readonly waiting: number;
  /** Whose devices would most likely draw it. Those of a single machine are one pool. Never throws. */
  poolOf(submission: NamedSubmission): string;
  /** How many images a pool can draw side by side; at least one, so that somebody waits for the model. */
  imagesAtOnce(pool: string): number;
  /** Promises a place among the waiting jobs. Throws `queue_full`, `worker_unavailable` or `draining`. */
  admit(submission: Submission, options?: AdmitOptions): Admission;
  /**
   * Accepts a job; while no model is loaded it is pending, and `job.resolved` settles when one is. Throws what {@link admit} throws,
   * and `invalid_request` where the loaded model cannot make it.
   * @param submission Its images are released when the job ends, and when this throws.
   * @param admission What {@link admit} promised; used up, or released when this throws.
   */
  submit(submission: Submission, admission?: Admission): Job;
  /** Ends a job for its listeners at once and frees its worker at the next step boundary. False when it had ended already. */
  cancel(job: Job, reason: CancelReason): boolean;
  /** Resolves when a model is loaded; rejects with `worker_unavailable`, `draining`, or `cancelled` by the signal. */
  modelLoaded(signal?: AbortSignal): Promise<ModelInfo>;
  /** Refuses new jobs, waits for those that can still be drawn, at most `timeoutMs`, then stops. */
  drain(timeoutMs: number): Promise<void>;
  /** Cancels everything and stops; a second call ends at once what lingers. */
  close(): Promise<void>;
  snapshot(): ServiceSnapshot;
}
