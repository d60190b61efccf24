/**
 * The jobs of a gateway: accepted here, each drawn by the nodes of the pool whose model it names. HTTP, dialects and realtime see the same
 * port as on a single machine; a job's client stays connected to this process, whatever happens to the nodes that draw it.
 */
import type { Logger } from "pino";
import { Changes } from "../../async/changes.ts";
import { after } from "../../async/timer.ts";
import type { Config } from "../../config.ts";
import { LatentcastError } from "../../errors.ts";
import type { Admission } from "../../jobs/admission.ts";
import { Counters } from "../../jobs/counters.ts";
import { Entrance } from "../../jobs/entrance.ts";
import type { CancelReason } from "../../jobs/events.ts";
import type { Job } from "../../jobs/job.ts";
import type { AdmitOptions, Jobs, NamedSubmission } from "../../jobs/jobs.ts";
import type { JobObserver } from "../../jobs/observer.ts";
import type { Phase, ServiceStatus } from "../../jobs/status.ts";
import type { Submission } from "../../jobs/submission.ts";
import type { ModelInfo } from "../../protocol/messages.ts";
import type { ServiceSnapshot } from "../../schema/health.ts";
import type { Bus } from "../bus.ts";
import type { Fleet } from "../fleet/fleet.ts";
import { takeGatewaySnapshot } from "./gateway-snapshot.ts";
import type { Layout } from "../layout.ts";
import { Placement } from "./placement.ts";
import { Pools } from "../pool/pools.ts";
import type { PoolView } from "../pool/pool-view.ts";
import { RemoteDispatcher } from "./remote-dispatcher.ts";

export interface RemoteJobsOptions {
  readonly config: Pick<Config, "queueLimit" | "maxPixels" | "shortcuts">;
  readonly version: string;
  readonly log: Logger;
  readonly observers?: readonly JobObserver[];
  readonly bus: Bus;
  readonly layout: Layout;
  readonly fleet: Fleet;
  /** Of this gateway, unlike that of any other. */
  readonly name: string;
  /** Draws what names no model. */
  readonly pool: string;
}

const RETRY_AFTER_SECONDS = 1;

export class RemoteJobs implements Jobs {
  readonly #options: RemoteJobsOptions;
  readonly #counters = new Counters();
  readonly #pools: Pools;
  readonly #placement: Placement;
  readonly #dispatcher: RemoteDispatcher;
  readonly #changes = new Changes();
  #phase: Phase = "open";
  readonly #entrance: Entrance;

  constructor(options: RemoteJobsOptions) {
    const { bus, layout, fleet, name, pool, log, config, observers = [] } = options;
    this.#options = options;
    this.#pools = new Pools({
      ...{ bus, layout, fleet, log, own: pool },
      onChange: () => this.#poolsChanged(),
      onForgotten: (view) => this.#dispatcher.poolForgotten(view),
      ownTickets: (view) => this.#dispatcher.ticketsIn(view),
    });
    this.#placement = new Placement(this.#pools, config);
    this.#dispatcher = new RemoteDispatcher({
      ...{ bus, layout, fleet, log, gateway: name, pools: this.#pools },
      observers: [this.#counters, ...observers],
      onPreview: () => this.#counters.preview(),
      place: ({ submission }) => this.#placement.place(submission),
    });
    this.#entrance = new Entrance({
      phase: () => this.#phase,
      cancel: (job, reason) => this.cancel(job, reason),
      add: (job) => this.#dispatcher.add(job),
    });
  }

  start(): void {
    this.#dispatcher.start();
    this.#pools.start();
  }

  /** Whether or not a node draws it now. */
  get model(): ModelInfo | undefined {
    return this.#pools.own.serving?.model;
  }

  /** That one first, then those that can be drawn now. */
  get models(): readonly ModelInfo[] {
    const { own } = this.#pools;
    const served = this.#placement.served.filter(({ pool }) => pool === own || pool.problem === undefined);
    return served.map(({ serving }) => serving.model);
  }

  poolOf(submission: NamedSubmission): string {
    return this.#expectedPool(submission).name;
  }

  imagesAtOnce(pool: string): number {
    const rows = this.#pools.get(pool)?.devices.map((device) => device.rows) ?? [];
    return Math.max(
      1,
      rows.reduce((sum, each) => sum + each, 0),
    );
  }

  get phase(): Phase {
    return this.#phase;
  }

  get waiting(): number {
    return this.#dispatcher.waiting + this.#entrance.promised;
  }

  /** For metrics. */
  get dispatch(): Pick<RemoteDispatcher, "counts" | "remade"> {
    return this.#dispatcher;
  }

  /** Which pool draws what asks for the model of `input`. Throws `invalid_request` for a name that is not there. */
  poolFor(input: Submission["input"]): string {
    return this.#placement.poolFor({ input }).name;
  }

  /** Why nobody draws for a pool; undefined while somebody does. */
  problemOf(pool: string): string | undefined {
    return this.#pools.get(pool)?.problem;
  }

  admit(
    submission: Submission,
    { maxWaiting = Number.POSITIVE_INFINITY, isKnown = false }: AdmitOptions = {},
  ): Admission {
    const pool = this.#expectedPool(submission);
    this.#entrance.checkOpen();
    const waiting = this.#waitingIn(pool);
    const isFull = waiting >= this.#options.config.queueLimit && !(waiting === 0 && pool.hasRoom);
    if (!isKnown && (isFull || waiting > maxWaiting)) throw this.#full();
    return this.#entrance.promise(pool.name);
  }

  submit(submission: Submission, admission = this.admit(submission)): Job {
    return this.#entrance.enter(submission, admission);
  }

  cancel(job: Job, reason: CancelReason): boolean {
    return this.#dispatcher.cancel(job, reason);
  }

  async modelLoaded(signal?: AbortSignal): Promise<ModelInfo> {
    while (true) {
      const { model } = this;
      if (model !== undefined && this.#pools.own.canDraw) return model;
      if (this.#phase !== "open") throw new LatentcastError("draining");
      if (signal?.aborted === true) throw new LatentcastError("cancelled");
      await this.#changes.next(signal);
    }
  }

  async drain(timeoutMs: number): Promise<void> {
    this.#enter("draining");
    const timer = after(timeoutMs, () => this.#dispatcher.abort());
    await this.#dispatcher.drained();
    timer.cancel();
    await this.close();
  }

  async close(): Promise<void> {
    this.#enter("closed");
    this.#dispatcher.abort();
    this.#dispatcher.close();
    this.#pools.close();
  }

  snapshot(): ServiceSnapshot {
    const { config, version, fleet, pool, bus } = this.#options;
    return takeGatewaySnapshot({
      status: this.#status,
      version,
      shortcuts: config.shortcuts,
      model: this.model,
      waiting: this.waiting,
      unfinished: this.#dispatcher.unfinished,
      counters: this.#counters,
      served: this.#placement.served,
      pools: this.#pools.all.map((view) => ({ view, waiting: this.#waitingIn(view) })),
      ...{ fleet, pool, isConnected: bus.isConnected, reticketed: this.#dispatcher.remade },
    });
  }

  get #status(): ServiceStatus {
    if (this.#phase !== "open") return { kind: "draining" };
    if (this.#pools.canDraw) return { kind: this.waiting > 0 ? "busy" : "ready" };
    const loading = this.#options.bus.isConnected
      ? { stage: "nodes", progress: null, detail: this.#pools.own.problem ?? null }
      : { stage: "servers", progress: null, detail: "no connection to NATS" };
    return { kind: "loading", loading };
  }

  #waitingIn(pool: PoolView): number {
    return this.#dispatcher.waitingIn(pool) + this.#entrance.promisedTo(pool.name);
  }

  /** Where it will most likely be drawn; what is wrong with it is said when it is submitted. */
  #expectedPool(submission: NamedSubmission): PoolView {
    try {
      return this.#placement.poolFor(submission);
    } catch {
      return this.#pools.own;
    }
  }

  #enter(phase: Phase): void {
    this.#phase = phase;
    this.#changes.announce();
  }

  #poolsChanged(): void {
    this.#dispatcher.poolsChanged();
    this.#changes.announce();
  }

  #full(): LatentcastError {
    return new LatentcastError("queue_full", { retryAfterSeconds: RETRY_AFTER_SECONDS });
  }
}
