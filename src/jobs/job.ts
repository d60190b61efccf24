/** One accepted request: its state, its listeners, and the single place where it may end. */
import { isTerminal, type JobEvent, type PreviewEvent, type QueuedEvent, type TerminalEvent } from "./events.ts";
import { Mailbox } from "./mailbox.ts";
import type { JobRequest } from "./request.ts";

export type JobState =
  | { readonly kind: "queued" }
  | { readonly kind: "running"; readonly step: number }
  | TerminalEvent;

export type Priority = "normal" | "low";

export interface JobOptions {
  readonly id: string;
  readonly request: JobRequest;
  readonly priority: Priority;
  /** Goes on when its last listener has left. */
  readonly keep: boolean;
}

export class Job {
  readonly id: string;
  readonly request: JobRequest;
  readonly priority: Priority;
  readonly keep: boolean;
  readonly acceptedAtMs: number;
  startedAtMs: number | undefined;
  firstPreviewAtMs: number | undefined;
  /** Workers that died while they held this job. */
  deaths = 0;
  #state: JobState = { kind: "queued" };
  #place: QueuedEvent | undefined;
  #latestPreview: PreviewEvent | undefined;
  readonly #listeners = new Set<Mailbox>();
  readonly #onAbandoned: (job: Job) => void;
  #dropped = 0;

  /** @param onAbandoned Called when the last listener of a job that is not kept leaves before its end. */
  constructor(options: JobOptions, nowMs: number, onAbandoned: (job: Job) => void) {
    this.id = options.id;
    this.request = options.request;
    this.priority = options.priority;
    this.keep = options.keep;
    this.acceptedAtMs = nowMs;
    this.#onAbandoned = onAbandoned;
  }

  get state(): JobState {
    return this.#state;
  }

  get ended(): TerminalEvent | undefined {
    const state = this.#state;
    return state.kind === "queued" || state.kind === "running" ? undefined : state;
  }

  /** For a listener that comes late: what there is to see already. */
  get latestPreview(): PreviewEvent | undefined {
    return this.#latestPreview;
  }

  /** Previews that slow listeners did not get to see. */
  get dropped(): number {
    let sum = this.#dropped;
    for (const mailbox of this.#listeners) sum += mailbox.dropped;
    return sum;
  }

  /** A new listener. It first hears where the job stands and the newest preview, then everything; of an ended job the ending. */
  listen(): Mailbox {
    const mailbox = new Mailbox((leaving) => this.#leave(leaving));
    const { ended } = this;
    if (ended !== undefined) {
      mailbox.push(ended);
      return mailbox;
    }
    if (this.#state.kind === "queued" && this.#place !== undefined) mailbox.push(this.#place);
    if (this.#state.kind === "running") mailbox.push({ kind: "started" });
    if (this.#latestPreview !== undefined) mailbox.push(this.#latestPreview);
    this.#listeners.add(mailbox);
    return mailbox;
  }

  start(nowMs: number): void {
    if (this.#state.kind !== "queued") return;
    this.#state = { kind: "running", step: 0 };
    this.startedAtMs ??= nowMs;
    this.#announce({ kind: "started" });
  }

  progress(step: number): void {
    if (this.#state.kind !== "running") return;
    this.#state = { kind: "running", step };
    this.#announce({ kind: "progress", step, totalSteps: this.request.steps });
  }

  preview(event: PreviewEvent, nowMs: number): void {
    if (this.#state.kind !== "running") return;
    this.firstPreviewAtMs ??= nowMs;
    this.#latestPreview = event;
    this.#announce(event);
  }

  /** Tells a waiting job's listeners how many are ahead. */
  queued(position: number, estimateMs: number | null): void {
    if (this.#state.kind !== "queued") return;
    this.#place = { kind: "queued", position, estimateMs };
    this.#announce(this.#place);
  }

  /** Its worker died: the job waits again, with the same seed. */
  requeue(): void {
    if (this.#state.kind === "running") this.#state = { kind: "queued" };
  }

  /** The one place where a job ends. Returns false, and does nothing, when it had ended before. */
  finish(ending: TerminalEvent): boolean {
    if (this.ended !== undefined) return false;
    this.#state = ending;
    this.#announce(ending);
    this.#listeners.clear();
    return true;
  }

  #announce(event: JobEvent): void {
    for (const mailbox of this.#listeners) mailbox.push(event);
    if (isTerminal(event)) for (const mailbox of this.#listeners) this.#dropped += mailbox.dropped;
  }

  #leave(mailbox: Mailbox): void {
    if (!this.#listeners.delete(mailbox)) return;
    this.#dropped += mailbox.dropped;
    if (this.#listeners.size === 0 && !this.keep && this.ended === undefined) this.#onAbandoned(this);
  }
}
