/** One accepted request: its state, what happened to it, and the single place where it may end. */
import { deferred } from "../async/deferred.ts";
import { EventLog, type Entry, type CursorOptions } from "./event-log.ts";
import { terminalError, isTerminal, type JobPreview, type QueuedEvent, type TerminalEvent } from "./events.ts";
import { nextJobState, type JobState } from "./job-state.ts";
import type { JobRequest } from "./request.ts";
import type { Priority, SeededInput, Submission } from "./submission.ts";

export interface JobOptions extends Submission {
  readonly id: string;
  readonly input: SeededInput;
}

export class Job {
  readonly id: string;
  readonly seed: number;
  readonly prompt: string;
  readonly priority: Priority;
  readonly keep: boolean;
  readonly submission: JobOptions;
  readonly acceptedAtMs: number;
  startedAtMs: number | undefined;
  firstPreviewAtMs: number | undefined;
  /** Workers that died while they held this job. */
  deaths: number;
  #state: JobState = { kind: "pending" };
  readonly #log: EventLog;
  readonly #resolved = deferred<JobRequest>();
  readonly #begun = deferred<void>();

  /** @param onAbandoned Called when the last listener of a job that is not kept leaves before its end. */
  constructor(options: JobOptions, nowMs: number, onAbandoned: (job: Job) => void) {
    this.id = options.id;
    this.seed = options.input.seed;
    this.prompt = options.input.prompt;
    this.priority = options.priority ?? "normal";
    this.keep = options.keep ?? false;
    this.deaths = options.deaths ?? 0;
    this.submission = options;
    this.acceptedAtMs = nowMs;
    this.#log = new EventLog(() => {
      if (!this.keep) onAbandoned(this);
    });
    // Without a handler the rejection would end the process when nothing awaits it.
    this.#resolved.promise.catch(() => undefined);
    this.#begun.promise.catch(() => undefined);
  }

  get state(): JobState {
    return this.#state;
  }

  get ended(): TerminalEvent | undefined {
    return isTerminal(this.#state) ? this.#state : undefined;
  }

  /** The request as resolved for the loaded model. Rejects with the error of a job that ends before. */
  get resolved(): Promise<JobRequest> {
    return this.#resolved.promise;
  }

  /** Resolves when a worker has begun to draw it. Rejects with the error of a job that ends before. */
  get begun(): Promise<void> {
    return this.#begun.promise;
  }

  /** Undefined while no model is loaded, and after the end. */
  get request(): JobRequest | undefined {
    return "request" in this.#state ? this.#state.request : undefined;
  }

  /** Jobs that will begin before this one; 0 once it has begun. */
  get position(): number {
    return this.#log.place?.position ?? 0;
  }

  /** The newest place that was announced; undefined once it has begun. */
  get place(): QueuedEvent | undefined {
    return this.#log.place;
  }

  /** Of a job that has ended, too. */
  get newestPreview(): JobPreview | undefined {
    return this.#log.newestPreview;
  }

  /** Previews that slow listeners did not get to see. */
  get dropped(): number {
    return this.#log.dropped;
  }

  /** A new listener; see {@link EventLog.follow}. */
  follow(options?: CursorOptions): AsyncIterable<Entry> {
    return this.#log.follow(options);
  }

  /** What a new listener gets at once; see {@link EventLog.entriesAfter}. */
  entriesAfter(after: number | undefined): readonly Entry[] {
    return this.#log.entriesAfter(after);
  }

  /** A model is loaded, and this is what it will draw. */
  resolve(request: JobRequest): void {
    if (this.#apply({ kind: "resolved", request })) this.#resolved.resolve(request);
  }

  /** Records how many jobs are ahead of this one. */
  queued(position: number, estimateMs: number | null): void {
    if (this.#state.kind === "pending" || this.#state.kind === "queued")
      this.#log.append({ kind: "queued", position, estimateMs });
  }

  start(nowMs: number, totalSteps: number): void {
    if (!this.#apply({ kind: "started", totalSteps })) return;
    this.startedAtMs ??= nowMs;
    this.#begun.resolve();
    this.#log.append({ kind: "started", totalSteps });
  }

  progress(step: number): void {
    if (this.#apply({ kind: "stepped", step }) && this.#state.kind === "running")
      this.#log.append({ kind: "progress", step, totalSteps: this.#state.totalSteps });
  }

  preview(event: JobPreview, nowMs: number): void {
    if (this.#state.kind !== "running") return;
    this.firstPreviewAtMs ??= nowMs;
    this.#log.append(event);
  }

  /** Its worker died: the job waits again, with the same seed. */
  requeue(): void {
    this.#apply({ kind: "returned" });
  }

  /** The one place where a job ends. Returns false, and does nothing, when it had ended before. */
  finish(event: TerminalEvent): boolean {
    if (!this.#apply(event)) return false;
    if (event.kind !== "succeeded") {
      this.#resolved.reject(terminalError(event));
      this.#begun.reject(terminalError(event));
    }
    this.#log.append(event);
    return true;
  }

  #apply(change: Parameters<typeof nextJobState>[1]): boolean {
    const next = nextJobState(this.#state, change);
    if (next === this.#state) return false;
    this.#state = next;
    return true;
  }
}
