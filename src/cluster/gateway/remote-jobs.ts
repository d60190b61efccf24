/**
 * The jobs of a gateway: accepted here, drawn by the nodes of a pool. HTTP, dialects and realtime see the same port as on a single
 * machine; a job's client stays connected to this process, whatever happens to the nodes that draw it.
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
import type { AdmitOptions, Jobs } from "../../jobs/jobs.ts";
import type { JobObserver } from "../../jobs/observer.ts";
import { resolveSubmission } from "../../jobs/resolve.ts";
import type { Phase, ServiceStatus } from "../../jobs/status.ts";
import type { Submission } from "../../jobs/submission.ts";
import type { ModelInfo } from "../../protocol/messages.ts";
import type { ServiceSnapshot } from "../../schema/health.ts";
import type { Bus } from "../bus.ts";
import type { Fleet } from "../fleet/fleet.ts";
import { takeGatewaySnapshot } from "./gateway-snapshot.ts";
import type { Layout } from "../layout.ts";
import { PoolView } from "../pool/pool-view.ts";
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
  readonly pool: string;
}

const RETRY_AFTER_SECONDS = 1;

export class RemoteJobs implements Jobs {
  readonly #options: RemoteJobsOptions;
  readonly #counters = new Counters();
  readonly #pool: PoolView;
  readonly #dispatcher: RemoteDispatcher;
  readonly #changes = new Changes();
  #phase: Phase = "open";
  readonly #entrance = new Entrance({
    phase: () => this.#phase,
    cancel: (job, reason) => this.cancel(job, reason),
    add: (job) => this.#dispatcher.add(job),
  });

  constructor(options: RemoteJobsOptions) {
    const { bus, layout, fleet, name, pool, log, config, observers = [] } = options;
    this.#options = options;
    this.#pool = new PoolView({
      ...{ bus, layout, fleet, pool, log },
      onChange: () => this.#poolChanged(),
      ownTickets: () => this.#dispatcher.tickets,
    });
    this.#dispatcher = new RemoteDispatcher({
      ...{ bus, layout, fleet, log, gateway: name, poolName: pool, pool: this.#pool },
      observers: [this.#counters, ...observers],
      onPreview: () => this.#counters.preview(),
      resolve: ({ submission }) => {
        const { serving } = this.#pool;
        return serving === undefined
          ? undefined
          : resolveSubmission(submission, { models: [serving], unserved: [] }, config);
      },
    });
  }

  start(): void {
    this.#dispatcher.start();
    this.#pool.start();
  }

  get model(): ModelInfo | undefined {
    return this.#pool.serving?.model;
  }

  get models(): readonly ModelInfo[] {
    return this.model === undefined ? [] : [this.model];
  }

  get imagesAtOnce(): number {
    const rows = this.#pool.devices.reduce((sum, device) => sum + device.rows, 0);
    return Math.max(1, rows);
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

  admit(
    _submission: Submission,
    { maxWaiting = Number.POSITIVE_INFINITY, isKnown = false }: AdmitOptions = {},
  ): Admission {
    this.#entrance.checkOpen();
    const { waiting } = this;
    const isFull = waiting >= this.#options.config.queueLimit && !(waiting === 0 && this.#pool.hasRoom);
    if (!isKnown && (isFull || waiting > maxWaiting)) throw this.#full();
    return this.#entrance.promise();
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
      if (model !== undefined && this.#pool.canDraw) return model;
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
    this.#pool.close();
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
      ...{ fleet, pool, isConnected: bus.isConnected, reticketed: this.#dispatcher.remade },
    });
  }

  get #status(): ServiceStatus {
    if (this.#phase !== "open") return { kind: "draining" };
    if (this.#pool.canDraw) return { kind: this.waiting > 0 ? "busy" : "ready" };
    const { bus, pool } = this.#options;
    const loading = bus.isConnected
      ? { stage: "nodes", progress: null, detail: `no node of pool ${pool} takes work` }
      : { stage: "servers", progress: null, detail: "no connection to NATS" };
    return { kind: "loading", loading };
  }

  #enter(phase: Phase): void {
    this.#phase = phase;
    this.#changes.announce();
  }

  #poolChanged(): void {
    this.#dispatcher.poolChanged();
    this.#changes.announce();
  }

  #full(): LatentcastError {
    return new LatentcastError("queue_full", { retryAfterSeconds: RETRY_AFTER_SECONDS });
  }
}
