/** A request of the queue that has not ended, as this process knows it. */
import type { JobEvent } from "../jobs/events.ts";
import type { Job } from "../jobs/job.ts";
import type { LogLine } from "../schema/queue.ts";
import { EventFeed } from "./event-feed.ts";
import type { AcceptedRequest, Answer, Ending } from "../storage/request-store.ts";

export interface Ended {
  readonly ending: Ending;
  readonly answer: Answer;
}

export class LiveRequest {
  readonly request: AcceptedRequest;
  readonly feed: EventFeed;
  readonly logs: LogLine[] = [];
  /** Resolves when it has ended, or has been put off until the next start of the server. */
  readonly settled: Promise<void>;
  job: Job | undefined;
  isRunning = false;
  /** Set as soon as its outcome may be told; the store has it by then, unless the disk is full. */
  ended: Ended | undefined;
  readonly #settle: () => void;

  /** @param attempt Which start of this request it would be, in this process and those before it. */
  constructor(request: AcceptedRequest, attempt: number) {
    this.request = request;
    this.feed = new EventFeed(String(attempt));
    let settle = (): void => undefined;
    this.settled = new Promise((resolve) => {
      settle = resolve;
    });
    this.#settle = settle;
  }

  settle(): void {
    this.feed.close();
    this.#settle();
  }

  queued(position: number, estimateMs: number | null): void {
    this.isRunning = false;
    this.feed.publish("queued", () => ({ position, estimate: estimateMs === null ? null : estimateMs / 1_000 }));
  }

  /** What happened to its job. Its ending is told by the queue, which has to keep it first. */
  note(event: JobEvent, preview: (event: JobEvent & { kind: "preview" }) => object): void {
    switch (event.kind) {
      case "queued":
        this.queued(event.position, event.estimateMs);
        return;
      case "started":
        if (this.isRunning) return;
        this.isRunning = true;
        this.log("started");
        this.feed.publish("started", () => ({ total_steps: event.totalSteps }));
        return;
      case "progress": {
        const { step, totalSteps } = event;
        this.log(`step ${step + 1} of ${totalSteps}`);
        this.feed.publish("progress", () => ({ step, total_steps: totalSteps, progress: (step + 1) / totalSteps }));
        return;
      }
      case "preview":
        this.feed.publish("preview", () => preview(event));
        return;
      default:
        return;
    }
  }

  log(message: string, level: LogLine["level"] = "INFO"): void {
    this.logs.push({ message, level, source: "USER", timestamp: new Date().toISOString() });
  }
}
