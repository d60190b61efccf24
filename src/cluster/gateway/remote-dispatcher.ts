/**
 * Between the jobs of a gateway and the nodes that draw them: makes tickets, hears what nodes say, and lets a job run elsewhere when its
 * node died or has lost it. The counterpart of `jobs/dispatcher.ts` where the devices are in other machines.
 */
import type { Logger } from "pino";
import { LatentcastError, toLatentcastError } from "../../errors.ts";
import type { CancelReason, TerminalEvent } from "../../jobs/events.ts";
import type { Job } from "../../jobs/job.ts";
import type { JobObserver } from "../../jobs/observer.ts";
import type { JobRequest } from "../../jobs/request.ts";
import { UnfinishedJobs, type MissedDeadline } from "../../jobs/unfinished-jobs.ts";
import { StreamFull, type Bus } from "../bus.ts";
import type { Fleet } from "../fleet/fleet.ts";
import { GatewayInbox } from "./gateway-inbox.ts";
import type { Layout } from "../layout.ts";
import type { PoolView } from "../pool/pool-view.ts";
import { RemoteJob } from "./remote-job.ts";
import { TicketOffice } from "./ticket-office.ts";
import { WIRE_VERSION } from "../wire.ts";

export interface RemoteDispatcherOptions {
  readonly bus: Bus;
  readonly layout: Layout;
  readonly fleet: Fleet;
  readonly pool: PoolView;
  readonly poolName: string;
  readonly gateway: string;
  readonly log: Logger;
  readonly observers: readonly JobObserver[];
  readonly onPreview: () => void;
  /** What a submitted job becomes on the model of the pool; undefined while that is unknown. Throws `invalid_request`. */
  readonly resolve: (job: Job) => JobRequest | undefined;
}

const TICK_MS = 1_000;
/** A node names what it holds each second. One that lives and has not named a job for this long has lost it. */
const LOST_AFTER_MS = 8_000;
/** A job that this many nodes died with is surely the cause. */
const MAX_DEATHS = 3;
const RETRY_AFTER_SECONDS = 5;

export class RemoteDispatcher {
  readonly #options: RemoteDispatcherOptions;
  readonly #inbox: GatewayInbox;
  readonly #tickets: TicketOffice;
  readonly #unfinished = new UnfinishedJobs((job, code) => this.#missed(job, code));
  /** Those that a ticket was made for, or is being made. */
  readonly #remotes = new Map<string, RemoteJob>();
  /** Those that nobody has begun, in the order in which they came. */
  readonly #waiting = new Set<Job>();
  /** Those that have no ticket yet: there is no node. */
  readonly #unsent = new Set<Job>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: RemoteDispatcherOptions) {
    const { bus, layout, fleet, gateway, poolName: pool, log, onPreview } = options;
    this.#options = options;
    this.#tickets = new TicketOffice({ bus, layout, gateway, pool, log });
    this.#inbox = new GatewayInbox({
      ...{ bus, layout, gateway, log, onPreview },
      find: (id) => this.#remotes.get(id),
      // Its ticket is known to be in the queue, even though this process has not heard so yet.
      onClaimed: (remote, node) => {
        this.#resolved(remote);
        this.#observe((observer) => observer.claimed?.(remote.job, node));
      },
      onStarted: ({ job }) => this.#started(job),
      onRequeued: ({ job }) => this.#wait(job),
      onEnded: ({ job }, event) => this.#finish(job, event),
    });
    fleet.onDeath(({ name, incarnation }) => this.#nodeDied(name, incarnation));
  }

  start(): void {
    this.#inbox.open();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#inbox.close();
  }

  get unfinished(): number {
    return this.#unfinished.size;
  }

  /** Jobs of this gateway and others that nobody has begun. */
  get waiting(): number {
    return this.#waiting.size + this.#options.pool.ticketsElsewhere;
  }

  /** Tickets in the queue, or on their way into it. */
  get tickets(): number {
    return [...this.#remotes.values()].filter(({ claim }) => claim === undefined).length;
  }

  /** Tickets that were made again. */
  get remade(): number {
    return this.#tickets.remade;
  }

  /** Jobs by where they are. */
  get counts(): { readonly waiting: number; readonly claimed: number } {
    const claimed = [...this.#remotes.values()].filter(({ claim }) => claim !== undefined).length;
    return { waiting: this.#waiting.size, claimed };
  }

  /** Takes charge of a job that was accepted, until it ends. Throws `invalid_request`, and leaves it alone then. */
  add(job: Job): void {
    const request = this.#options.resolve(job);
    this.#unfinished.add(job);
    this.#observe((observer) => observer.accepted?.(job));
    this.#waiting.add(job);
    this.#unsent.add(job);
    if (request !== undefined && this.#options.pool.canDraw) void this.#send(job, request);
    this.#announcePlaces();
  }

  /** False when it had ended already. */
  cancel(job: Job, reason: CancelReason): boolean {
    return this.#end(job, { kind: "cancelled", reason });
  }

  drained(): Promise<void> {
    return this.#unfinished.empty();
  }

  abort(): void {
    for (const job of this.#unfinished.list()) this.#end(job, { kind: "cancelled", reason: "shutdown" });
  }

  /** The pool's nodes or its queue have changed. */
  poolChanged(): void {
    if (this.#options.pool.canDraw) for (const job of [...this.#unsent]) this.#sendLate(job);
    this.#announcePlaces();
  }

  #sendLate(job: Job): void {
    try {
      const request = this.#options.resolve(job);
      if (request !== undefined) void this.#send(job, request);
    } catch (error) {
      this.#end(job, { kind: "failed", error: toLatentcastError(error) });
    }
  }

  async #send(job: Job, request: JobRequest): Promise<void> {
    this.#unsent.delete(job);
    const remote = new RemoteJob(job, request, performance.now());
    this.#remotes.set(job.id, remote);
    try {
      await request.inputs?.fit(request.params);
      if (job.ended !== undefined) return;
      const beganMs = performance.now();
      await this.#tickets.publish(remote);
      const seconds = (performance.now() - beganMs) / 1_000;
      this.#observe((observer) => observer.ticketed?.(job, seconds));
      // Only now: a client must not be promised what the queue has refused.
      this.#resolved(remote);
    } catch (error) {
      this.#end(job, { kind: "failed", error: refusal(error) });
    }
  }

  #resolved({ job, request }: RemoteJob): void {
    if (job.state.kind !== "pending") return;
    job.resolve(request);
    this.#observe((observer) => observer.resolved?.(job));
    this.#announcePlaces();
  }

  #started(job: Job): void {
    this.#waiting.delete(job);
    this.#observe((observer) => observer.started?.(job));
    this.#announcePlaces();
  }

  #wait(job: Job): void {
    // It goes ahead of those that came later, as its ticket does.
    const others = [...this.#waiting].filter((other) => other !== job);
    this.#waiting.clear();
    for (const each of [job, ...others]) this.#waiting.add(each);
    this.#announcePlaces();
  }

  #nodeDied(node: string, incarnation: string): void {
    for (const remote of [...this.#remotes.values()]) {
      const { claim, job } = remote;
      if (claim?.node !== node || claim.incarnation !== incarnation) continue;
      this.#options.log.warn({ jobId: job.id, node }, "a node died with a job");
      remote.deaths += 1;
      // Here and nowhere else: whoever asks a second time takes the job from its next holder.
      this.#options.bus.nakAt(claim.ack);
      if (remote.deaths < MAX_DEATHS) {
        remote.returned(performance.now());
        this.#wait(job);
      } else {
        const message = "The machines that ran this request died each time.";
        this.#end(job, { kind: "failed", error: new LatentcastError("worker_crashed", { message }) });
      }
    }
  }

  #tick(): void {
    const { fleet, log } = this.#options;
    if (!fleet.isHearing) return;
    const nowMs = performance.now();
    for (const remote of this.#remotes.values()) {
      const { claim } = remote;
      if (claim === undefined || nowMs - remote.heardMs < LOST_AFTER_MS) continue;
      // A node that died is certified so first.
      if (!fleet.isAlive(claim.node, claim.incarnation)) continue;
      remote.returned(nowMs);
      this.#wait(remote.job);
      this.#tickets.publishAgain(remote).catch((error: unknown) => {
        log.warn({ jobId: remote.job.id, err: error }, "the ticket of a job could not be made again");
      });
    }
    void this.#tickets.look([...this.#remotes.values()].filter(({ claim }) => claim === undefined));
  }

  #announcePlaces(): void {
    const { pool } = this.#options;
    let position = pool.ticketsElsewhere;
    for (const job of this.#waiting) {
      const request = this.#remotes.get(job.id)?.request;
      const estimateMs = request === undefined ? null : pool.estimateMs(position, request);
      const { place } = job;
      if (place?.position !== position || place.estimateMs !== estimateMs) job.queued(position, estimateMs);
      position += 1;
    }
  }

  #missed(job: Job, code: MissedDeadline): void {
    const options = code === "worker_unavailable" ? { retryAfterSeconds: 10 } : {};
    this.#end(job, { kind: "failed", error: new LatentcastError(code, options) });
  }

  /** Ends a job before its node does, wherever it is. */
  #end(job: Job, event: TerminalEvent): boolean {
    const { bus, layout } = this.#options;
    const hasClaim = this.#remotes.get(job.id)?.claim !== undefined;
    if (!this.#finish(job, event)) return false;
    // Who has not asked for it yet is told so when it does.
    if (hasClaim) bus.publish(layout.cancel, { v: WIRE_VERSION, id: job.id });
    this.#announcePlaces();
    return true;
  }

  #finish(job: Job, event: TerminalEvent): boolean {
    if (!job.finish(event)) return false;
    job.submission.inputs?.release();
    this.#remotes.delete(job.id);
    this.#waiting.delete(job);
    this.#unsent.delete(job);
    this.#observe((observer) => observer.finished?.(job, event));
    this.#unfinished.remove(job);
    return true;
  }

  #observe(call: (observer: JobObserver) => void): void {
    for (const observer of this.#options.observers) call(observer);
  }
}

/** Of a job whose ticket the queue did not take. */
function refusal(error: unknown): LatentcastError {
  if (error instanceof LatentcastError) return error;
  if (error instanceof StreamFull)
    return new LatentcastError("queue_full", { retryAfterSeconds: RETRY_AFTER_SECONDS, cause: error });
  const message = "The servers between the machines do not answer; try again later.";
  return new LatentcastError("worker_unavailable", { message, retryAfterSeconds: RETRY_AFTER_SECONDS, cause: error });
}
