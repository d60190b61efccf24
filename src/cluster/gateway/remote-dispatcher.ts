/**
 * Between the jobs of a gateway and the nodes that draw them: makes tickets, hears what nodes say, and lets a job run elsewhere when its
 * node died or has lost it. The counterpart of `jobs/dispatcher.ts` where the devices are in other machines.
 */
import type { Logger } from "pino";
import { LatentcastError, toLatentcastError } from "../../errors.ts";
import type { CancelReason, TerminalEvent } from "../../jobs/events.ts";
import type { Job } from "../../jobs/job.ts";
import type { JobObserver } from "../../jobs/observer.ts";
import { UnfinishedJobs, type MissedDeadline } from "../../jobs/unfinished-jobs.ts";
import { StreamFull, type Bus } from "../bus.ts";
import type { Fleet } from "../fleet/fleet.ts";
import { GatewayInbox } from "./gateway-inbox.ts";
import type { Layout } from "../layout.ts";
import type { PoolRequest } from "./placement.ts";
import type { Pools } from "../pool/pools.ts";
import type { PoolView } from "../pool/pool-view.ts";
import { RemoteJob } from "./remote-job.ts";
import { TicketOffice } from "./ticket-office.ts";
import { WaitingJobs } from "./waiting-jobs.ts";
import { WIRE_VERSION } from "../wire.ts";

export interface RemoteDispatcherOptions {
  readonly bus: Bus;
  readonly layout: Layout;
  readonly fleet: Fleet;
  readonly pools: Pick<Pools, "own" | "all" | "canDraw">;
  readonly gateway: string;
  readonly log: Logger;
  readonly observers: readonly JobObserver[];
  readonly onPreview: () => void;
  /** Who draws a submitted job, and what it becomes there; undefined while that is unknown. Throws `invalid_request`. */
  readonly place: (job: Job) => PoolRequest | undefined;
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
  readonly #waiting = new WaitingJobs((job) => this.#remotes.get(job.id)?.request);
  /** Those that have no ticket yet: there is no node. Undefined where the pool is not known either. */
  readonly #unsent = new Map<Job, PoolView | undefined>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: RemoteDispatcherOptions) {
    const { bus, layout, fleet, gateway, log, onPreview } = options;
    this.#options = options;
    this.#tickets = new TicketOffice({ bus, layout, gateway, log });
    this.#inbox = new GatewayInbox({
      ...{ bus, layout, gateway, log, onPreview },
      find: (id) => this.#remotes.get(id),
      // Its ticket is known to be in the queue, even though this process has not heard so yet.
      onClaimed: (remote, node) => {
        this.#resolved(remote);
        this.#observe((observer) => observer.claimed?.(remote.job, node, remote.pool.name));
      },
      onStarted: ({ job }) => this.#started(job),
      onRequeued: (remote) => this.#wait(remote),
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
    return this.#options.pools.all.reduce((sum, { ticketsElsewhere }) => sum + ticketsElsewhere, this.#waiting.size);
  }

  /** The same of one pool. */
  waitingIn(pool: PoolView): number {
    return this.#waiting.countIn(pool) + pool.ticketsElsewhere;
  }

  /** Tickets in the queue of a pool, or on their way into it. */
  ticketsIn(pool: PoolView): number {
    return [...this.#remotes.values()].filter((remote) => remote.claim === undefined && remote.pool === pool).length;
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

  /**
   * Takes charge of a job that was accepted, until it ends. Throws `invalid_request`, and `worker_unavailable` where only other pools
   * draw; leaves it alone then.
   */
  add(job: Job): void {
    const { place, pools } = this.#options;
    const placed = place(job);
    if (placed !== undefined) this.#refuseHopeless(placed);
    this.#unfinished.add(job);
    this.#observe((observer) => observer.accepted?.(job));
    this.#waiting.add(job, placed?.pool ?? pools.own);
    this.#unsent.set(job, placed?.pool);
    if (placed?.pool.canDraw === true) void this.#send(job, placed);
    this.#waiting.announce();
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

  /** Nodes or queues of pools have changed. */
  poolsChanged(): void {
    for (const [job, pool] of [...this.#unsent]) if (pool?.canDraw !== false) this.#sendLate(job);
    this.#waiting.announce();
  }

  /** Nobody will take a ticket of it: what waits there fails now rather than never. */
  poolForgotten(pool: PoolView): void {
    for (const { job, pool: its, claim } of [...this.#remotes.values()])
      if (its === pool && claim === undefined) this.#end(job, { kind: "failed", error: unavailable(pool) });
  }

  #sendLate(job: Job): void {
    try {
      const placed = this.#options.place(job);
      if (placed === undefined) return;
      // What names no model may have waited for the first node of the own pool, which is about to say that it is there.
      if (this.#unsent.get(job) === undefined && placed.pool !== this.#options.pools.own) this.#refuseHopeless(placed);
      this.#waiting.add(job, placed.pool);
      this.#unsent.set(job, placed.pool);
      if (placed.pool.canDraw) void this.#send(job, placed);
    } catch (error) {
      this.#end(job, { kind: "failed", error: toLatentcastError(error) });
    }
  }

  /** While no pool draws the fleet is on its way up, or its servers are away: then jobs wait. */
  #refuseHopeless({ pool }: PoolRequest): void {
    if (!pool.canDraw && this.#options.pools.canDraw) throw unavailable(pool);
  }

  async #send(job: Job, placed: PoolRequest): Promise<void> {
    this.#unsent.delete(job);
    const remote = new RemoteJob(job, placed, performance.now());
    this.#remotes.set(job.id, remote);
    try {
      const { inputs, params } = placed.request;
      await inputs?.fit(params);
      if (job.ended !== undefined) return;
      const beganMs = performance.now();
      await this.#tickets.publish(remote);
      const seconds = (performance.now() - beganMs) / 1_000;
      this.#observe((observer) => observer.ticketed?.(job, placed.pool.name, seconds));
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
    this.#waiting.announce();
  }

  #started(job: Job): void {
    this.#waiting.delete(job);
    this.#observe((observer) => observer.started?.(job));
    this.#waiting.announce();
  }

  #wait({ job, pool }: RemoteJob): void {
    this.#waiting.putBack(job, pool);
    this.#waiting.announce();
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
        this.#wait(remote);
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
      this.#wait(remote);
      this.#tickets.publishAgain(remote).catch((error: unknown) => {
        log.warn({ jobId: remote.job.id, err: error }, "the ticket of a job could not be made again");
      });
    }
    void this.#tickets.look([...this.#remotes.values()].filter(({ claim }) => claim === undefined));
  }

  #missed(job: Job, code: MissedDeadline): void {
    const pool = this.#unsent.get(job) ?? this.#options.pools.own;
    const error = code === "worker_unavailable" ? unavailable(pool) : new LatentcastError(code);
    this.#end(job, { kind: "failed", error });
  }

  /** Ends a job before its node does, wherever it is. */
  #end(job: Job, event: TerminalEvent): boolean {
    const { bus, layout } = this.#options;
    const hasClaim = this.#remotes.get(job.id)?.claim !== undefined;
    if (!this.#finish(job, event)) return false;
    // Who has not asked for it yet is told so when it does.
    if (hasClaim) bus.publish(layout.cancel, { v: WIRE_VERSION, id: job.id });
    this.#waiting.announce();
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

/** Of a job that nobody draws. */
function unavailable({ problem, serving }: PoolView): LatentcastError {
  const what = serving === undefined ? "The model" : `The model ${JSON.stringify(serving.model.id)}`;
  const message = `${what} is not served now${problem === undefined ? "" : `: ${problem}`}; try again later.`;
  return new LatentcastError("worker_unavailable", { message, retryAfterSeconds: 10 });
}

/** Of a job whose ticket the queue did not take. */
function refusal(error: unknown): LatentcastError {
  if (error instanceof LatentcastError) return error;
  if (error instanceof StreamFull)
    return new LatentcastError("queue_full", { retryAfterSeconds: RETRY_AFTER_SECONDS, cause: error });
  const message = "The servers between the machines do not answer; try again later.";
  return new LatentcastError("worker_unavailable", { message, retryAfterSeconds: RETRY_AFTER_SECONDS, cause: error });
}
