/** A request that this process holds: its job, its log lines, and how it ended once that is kept. */
import { Changes } from "../async/changes.ts";
import type { Entry } from "../jobs/event-log.ts";
import type { JobEvent } from "../jobs/events.ts";
import type { Job } from "../jobs/job.ts";
import type { LogLine } from "../schema/queue.ts";
import type { AcceptedRequest } from "../storage/request-record.ts";
import type { Ended } from "../storage/request-store.ts";
import type { Lease } from "./lease.ts";
import { isSettled, nextLiveState, type LiveState, type SettledState } from "./live-state.ts";

export class LiveRequest {
  readonly request: AcceptedRequest;
  readonly job: Job;
  readonly logs: LogLine[] = [];
  /** From the first step on, or from the start where the request was claimed before. */
  lease: Lease | undefined;
  #state: LiveState = { kind: "held" };
  readonly #changes = new Changes();
  #changeCount = 0;

  constructor(request: AcceptedRequest, job: Job) {
    this.request = request;
    this.job = job;
  }

  get state(): LiveState {
    return this.#state;
  }

  /** Resolves when it has ended, or has been put off until the next start of the server. */
  get settled(): Promise<SettledState | undefined> {
    return this.settledBefore(new AbortController().signal);
  }

  /** The same; undefined when `signal` fires first. */
  async settledBefore(signal: AbortSignal): Promise<SettledState | undefined> {
    for await (const _ of this.changes(signal)) if (isSettled(this.#state)) return this.#state;
    return undefined;
  }

  /** Called once the end is kept; before that only with a full disk. */
  end(ended: Ended): void {
    this.#apply({ kind: "ended", ...ended });
  }

  /** @param ended Undefined when it is left to another process, now or after this one. */
  settle(ended: Ended | undefined): void {
    this.#apply(ended === undefined ? { kind: "put_off" } : { kind: "ended", ...ended });
  }

  /** What happened to its job. */
  note({ event }: Entry): void {
    const line = logLineOf(event);
    if (line !== undefined) this.logs.push(line);
    this.#changed();
  }

  log(message: string, level?: LogLine["level"]): void {
    this.logs.push(logLineNow(message, level));
  }

  /** Yields at once, then at most once for everything since the last time; ends when it is settled or `signal` fires. */
  async *changes(signal: AbortSignal): AsyncGenerator<void, void, undefined> {
    while (!signal.aborted) {
      const seen = this.#changeCount;
      const wasSettled = isSettled(this.#state);
      yield;
      if (wasSettled) return;
      if (this.#changeCount === seen) await this.#changes.next(signal);
    }
  }

  #apply(change: SettledState): void {
    this.#state = nextLiveState(this.#state, change);
    this.#changed();
  }

  #changed(): void {
    this.#changeCount += 1;
    this.#changes.announce();
  }
}

/** What the log of a request says about an event, now; undefined where it says nothing. */
export function logLineOf(event: JobEvent): LogLine | undefined {
  if (event.kind === "started") return logLineNow("started");
  return event.kind === "progress" ? logLineNow(`step ${event.step + 1} of ${event.totalSteps}`) : undefined;
}

export function logLineNow(message: string, level: LogLine["level"] = "INFO"): LogLine {
  return { message, level, source: "USER", timestamp: new Date().toISOString() };
}
