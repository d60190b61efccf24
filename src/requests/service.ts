/**
 * Requests that go on without their client: accepted on disk before they are answered, run by the same dispatcher as all others, kept
 * with their result until they expire. What had not ended when a server died is run again, with its seed, by the next one.
 */
import type { Logger } from "pino";
import { LatentcastError, toLatentcastError } from "../errors.ts";
import { endingError, isTerminal, type JobResult, type PreviewEvent } from "../jobs/events.ts";
import type { Job } from "../jobs/job.ts";
import { invalidRequest } from "../jobs/request.ts";
import type { Admission } from "../jobs/admission.ts";
import type { JobService } from "../jobs/service.ts";
import { drawSeed, type Fitted, type Submission } from "../jobs/submission.ts";
import type { ModelInfo } from "../protocol/messages.ts";
import { toAsciiJson } from "../schema/ascii-json.ts";
import type { ParsedInput } from "../schema/input.ts";
import type { Image } from "../schema/output.ts";
import type { LogLine } from "../schema/queue.ts";
import { eventFrame, FINAL_EVENT_ID } from "./event-feed.ts";
import { LiveRequest, type Ended } from "./live-request.ts";
import { storedStatus, toRequest, type CancelOutcome, type Order, type RequestStatus } from "./submission.ts";
import type { PictureFiles } from "../storage/published-images.ts";
import type { AcceptedRequest, Answer, QueueStore } from "../storage/request-store.ts";
import type { WebhookSender } from "./webhooks.ts";

/** How a kind of request is adapted to the model and told about. */
export interface QueueDialect {
  fit(input: ParsedInput, model: ModelInfo): Fitted;
  preview(event: PreviewEvent, job: Job): object;
  result(result: JobResult, job: Job, images: readonly Image[]): object;
}

export interface QueueServiceOptions {
  readonly jobs: JobService;
  readonly store: QueueStore;
  readonly files: PictureFiles;
  readonly webhooks: WebhookSender;
  readonly dialect: (name: string) => QueueDialect;
  /** An error as the client would get it. */
  readonly refusal: (error: LatentcastError) => Answer;
  readonly log: Logger;
}

/** A request that ran each time the server died is more likely the cause than a witness. */
const MAX_ATTEMPTS = 3;
const STORE_RETRY_MS = 5_000;

export class QueueService {
  readonly #options: QueueServiceOptions;
  readonly #live = new Map<string, LiveRequest>();

  constructor(options: QueueServiceOptions) {
    this.#options = options;
  }

  /** Takes up what an earlier server left. */
  async recover(): Promise<void> {
    for (const { request, attempts } of await this.#options.store.unfinished()) {
      const live = new LiveRequest(request, attempts + 1);
      this.#live.set(request.id, live);
      if (attempts < MAX_ATTEMPTS) this.#begin(live, true);
      else
        void this.#fail(
          live,
          new LatentcastError("worker_crashed", { message: "The server ended each time it ran this request." }),
        );
    }
    await this.#options.webhooks.start();
  }

  /** Resolves with the number of requests ahead once the request is on the disk. Rejects when it was not accepted. */
  async submit(order: Order): Promise<number> {
    const { parsed } = order;
    if (!parsed.ok) {
      await this.#keepRefused(toRequest(order, null, []), invalidRequest(parsed.problems));
      return 0;
    }
    const input = drawSeed(parsed.input);
    const request = toRequest(order, input, parsed.warnings);
    // Everything that can be refused is refused here, before anything is kept.
    using admission = this.#options.jobs.admit(this.#submission(request, input), { maxWaiting: order.maxQueueLength });
    const live = new LiveRequest(request, 1);
    this.#live.set(request.id, live);
    try {
      await this.#options.store.accept(request);
    } catch (error) {
      this.#live.delete(request.id);
      throw error;
    }
    return this.#begin(live, admission);
  }

  status(id: string): RequestStatus | undefined {
    const live = this.#live.get(id);
    if (live === undefined) return storedStatus(this.#options.store.find(id));
    const { app } = live.request;
    if (live.ended !== undefined) return { kind: "ended", app, ending: live.ended.ending };
    if (live.isRunning) return { kind: "running", app, logs: live.logs };
    return { kind: "queued", app, position: live.job?.position ?? 0 };
  }

  /** Undefined when there is no such request, or when it has not ended. */
  async answer(id: string): Promise<Answer | undefined> {
    return this.#live.get(id)?.ended?.answer ?? (await this.#options.store.answer(id));
  }

  /** Resolves when the cancellation is on the disk, or the worker has been told. */
  async cancel(id: string): Promise<CancelOutcome> {
    const live = this.#live.get(id);
    if (live === undefined) return this.#options.store.find(id) === undefined ? "unknown" : "ended_before";
    if (live.ended !== undefined || live.job?.ended !== undefined) return "ended_before";
    const outcome = live.job?.state.kind === "running" ? "stopping" : "removed";
    if (live.job !== undefined) this.#options.jobs.cancel(live.job, "cancelled_by_client");
    await live.settled;
    return outcome;
  }

  /**
   * Named events with ids, encoded once for all who listen; ends after the last one.
   * @returns Undefined when there is no such request; null when `lastEventId` was its last.
   */
  events(id: string, lastEventId: string | undefined, signal: AbortSignal): AsyncIterable<Buffer> | null | undefined {
    const live = this.#live.get(id);
    if (live !== undefined) return live.feed.listen(lastEventId, signal);
    const stored = this.#options.store.find(id);
    if (stored === undefined) return undefined;
    return lastEventId === FINAL_EVENT_ID ? null : this.#lastEvent(id);
  }

  /** Yields once, then whenever something happened to the request; ends with it. */
  changes(id: string, signal: AbortSignal): AsyncIterable<void> {
    return this.#live.get(id)?.feed.changes(signal) ?? once();
  }

  /** After the dispatcher has let go of every job: waits until each ending is on the disk. What has none is run by the next server. */
  async close(): Promise<void> {
    this.#options.webhooks.stop();
    await Promise.all([...this.#live.values()].map(({ settled }) => settled));
  }

  async #keepRefused(request: AcceptedRequest, error: LatentcastError): Promise<void> {
    await this.#options.store.accept(request, this.#failure(error, []));
    if (request.webhookUrl !== null) this.#options.webhooks.schedule(request.id, request.webhookUrl);
  }

  /**
   * Hands the request to the workers. What the model cannot make has been accepted, and its result says so.
   * @param admission True for a request that an earlier server accepted.
   * @returns How many are ahead of it.
   */
  #begin(live: LiveRequest, admission: Admission | true): number {
    const { request } = live;
    const { jobs } = this.#options;
    live.log("queued");
    try {
      if (request.input === null)
        throw new LatentcastError("internal_error", { cause: "a refused request without its ending" });
      const submission = this.#submission(request, request.input);
      live.job = jobs.submit(submission, admission === true ? jobs.admit(submission, { isKnown: true }) : admission);
    } catch (error) {
      const failure = toLatentcastError(error);
      if (failure.code === "draining") live.settle();
      else void this.#fail(live, failure);
      return 0;
    }
    this.#run(live, live.job).catch((error: unknown) => {
      this.#options.log.error({ requestId: request.id, err: error }, "the queue lost a request");
    });
    return live.job.position;
  }

  async #run(live: LiveRequest, job: Job): Promise<void> {
    const { request } = live;
    const dialect = this.#options.dialect(request.dialect);
    for await (const { event } of job.follow()) {
      if (event.kind === "started" && !live.isRunning) this.#noteAttempt(request.id);
      live.note(event, (preview) => dialect.preview(preview, job));
      if (!isTerminal(event)) continue;
      if (event.kind === "succeeded") await this.#succeed(live, job, event.result);
      else if (event.kind === "cancelled" && event.reason === "shutdown") live.settle();
      else await this.#fail(live, endingError(event));
    }
  }

  #submission({ id, dialect, ...request }: AcceptedRequest, input: ParsedInput): Submission {
    return {
      input,
      id,
      keep: true,
      priority: request.priority,
      warnings: request.warnings,
      traceparent: request.traceparent,
      fit: this.#options.dialect(dialect).fit,
      startTimeoutMs: request.startByMs === null ? undefined : Math.max(0, request.startByMs - Date.now()),
    };
  }

  #noteAttempt(id: string): void {
    this.#options.store.noteAttempt(id).catch((error: unknown) => {
      this.#options.log.warn({ requestId: id, err: error }, "the start of a request could not be noted");
    });
  }

  async #succeed(live: LiveRequest, job: Job, result: JobResult): Promise<void> {
    const { dialect, baseUrl, input } = live.request;
    let body: Buffer;
    try {
      const images = await this.#options.files.publish(result.images, {
        isInline: input?.sync_mode !== false,
        baseUrl,
      });
      body = Buffer.from(toAsciiJson(this.#options.dialect(dialect).result(result, job, images)));
    } catch (error) {
      await this.#fail(live, toLatentcastError(error));
      return;
    }
    live.log("finished");
    await this.#end(live, {
      ending: { endedAtMs: Date.now(), error: null, inferenceMs: result.timings.inferenceMs, logs: live.logs },
      answer: { status: 200, headers: {}, body },
    });
  }

  async #fail(live: LiveRequest, error: LatentcastError): Promise<void> {
    live.log(error.message, "ERROR");
    await this.#end(live, this.#failure(error, live.logs));
  }

  #failure(error: LatentcastError, logs: readonly LogLine[]): Ended {
    const { code, message } = error;
    return {
      ending: { endedAtMs: Date.now(), error: { code, message }, inferenceMs: null, logs },
      answer: this.#options.refusal(error),
    };
  }

  /** Kept first, told then. With a full disk it is told from memory until it can be kept. */
  async #end(live: LiveRequest, ended: Ended): Promise<void> {
    const { id, webhookUrl } = live.request;
    while (true) {
      try {
        await this.#options.store.end(id, ended.ending, ended.answer);
        break;
      } catch (error) {
        this.#options.log.error({ requestId: id, err: error }, "the ending of a request could not be kept");
      }
      this.#tell(live, ended);
      if (this.#options.jobs.phase === "closed") return;
      await new Promise((resolve) => setTimeout(resolve, STORE_RETRY_MS).unref());
    }
    this.#tell(live, ended);
    this.#live.delete(id);
    if (webhookUrl !== null) this.#options.webhooks.schedule(id, webhookUrl);
  }

  #tell(live: LiveRequest, ended: Ended): void {
    if (live.ended !== undefined) return;
    live.ended = ended;
    live.feed.end(...lastEventOf(ended.answer));
    live.settle();
  }

  async *#lastEvent(id: string): AsyncGenerator<Buffer, void, undefined> {
    const answer = await this.#options.store.answer(id);
    if (answer !== undefined) yield eventFrame(FINAL_EVENT_ID, ...lastEventOf(answer));
  }
}

function lastEventOf({ status, body }: Answer): ["result" | "error", string] {
  const json = body.toString("latin1");
  return status < 400 ? ["result", json] : ["error", `{"status":${status},${json.slice(1)}`];
}

async function* once(): AsyncGenerator<void, void, undefined> {
  yield;
}
