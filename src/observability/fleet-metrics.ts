/** What the way between the machines of a fleet costs: hops, tickets that came twice, work for nothing, writes that came second. */
import { Counter, Histogram, type Registry } from "prom-client";
import type { FleetObserver, TicketKind } from "../cluster/observer.ts";
import type { Job } from "../jobs/job.ts";
import type { JobObserver } from "../jobs/observer.ts";

/** From a ticket on a quiet local network to a queue that is full. */
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120];

/** When a direct job passed each place, by the clock of its gateway. Only the first run of it is counted. */
interface Hops {
  readonly pool: string;
  ticketedAtMs?: number;
  claimedAtMs?: number;
  startedAtMs?: number;
}

export class FleetMetrics implements JobObserver, FleetObserver {
  /** Tickets of queued requests that were made again. */
  reticketedRequests = 0;
  readonly #pool: string;
  readonly #hop: Histogram<"pool" | "hop">;
  readonly #age: Histogram<"pool" | "kind">;
  readonly #claim: Histogram<"pool" | "kind">;
  readonly #redelivered: Counter<"pool" | "kind">;
  readonly #failed: Counter<"pool">;
  readonly #wasted: Counter<"pool">;
  readonly #races: Counter<"stream">;
  readonly #hops = new WeakMap<Job, Hops>();
  readonly #deviceSeconds = new WeakMap<Job, number>();

  /** @param pool Whose work this process does as a node; absent on a server that is alone. */
  constructor(registry: Registry, pool?: string) {
    this.#pool = pool ?? "";
    const registers = [registry];
    const name = (text: string): string => `latentcast_cluster_${text}`;
    this.#hop = new Histogram({
      name: name("hop_seconds"),
      help: "Of direct requests, at their gateway, by the pool that draws them: the ticket's way into the queue (ticket), until a node claims it (claim), until the gateway hears that it has begun (start), until its first preview (preview).",
      labelNames: ["pool", "hop"],
      buckets: SECONDS,
      registers,
    });
    this.#age = new Histogram({
      name: name("ticket_age_seconds"),
      help: "At nodes: how long a ticket was in the queue before this node got it.",
      labelNames: ["pool", "kind"],
      buckets: SECONDS,
      registers,
    });
    this.#claim = new Histogram({
      name: name("claim_seconds"),
      help: "At nodes: from having a ticket to being allowed to begin, by its gateway (direct) or by the record (queued).",
      labelNames: ["pool", "kind"],
      buckets: SECONDS,
      registers,
    });
    this.#redelivered = new Counter({
      name: name("redelivered_total"),
      help: "At nodes: tickets that had been handed out before.",
      labelNames: ["pool", "kind"],
      registers,
    });
    this.#failed = new Counter({
      name: name("ticket_failures_total"),
      help: "At gateways: attempts to put the ticket of an accepted queued request into the queue that failed. Each is made again.",
      labelNames: ["pool"],
      registers,
    });
    this.#wasted = new Counter({
      name: name("duplicate_work_seconds_total"),
      help: "At nodes: device time of runs that were thrown away, since another run of the same job counts.",
      labelNames: ["pool"],
      registers,
    });
    // A rate needs a value from before the first one.
    if (pool !== undefined) this.#wasted.inc({ pool }, 0);
    this.#races = new Counter({
      name: name("cas_lost_total"),
      help: "Writes that were refused because another process's came first, by stream.",
      labelNames: ["stream"],
      registers,
    });
  }

  ticketed(job: Job, pool: string, seconds: number): void {
    const hops = this.#hopsOf(job, pool);
    if (hops.ticketedAtMs !== undefined) return;
    hops.ticketedAtMs = performance.now();
    this.#hop.observe({ pool, hop: "ticket" }, seconds);
  }

  claimed(job: Job, _node: string, pool: string): void {
    const hops = this.#hopsOf(job, pool);
    if (hops.claimedAtMs !== undefined) return;
    hops.claimedAtMs = performance.now();
    // The node may be faster than the queue's answer to the gateway: the job did not wait then.
    const fromMs = hops.ticketedAtMs ?? hops.claimedAtMs;
    this.#hop.observe({ pool, hop: "claim" }, secondsBetween(fromMs, hops.claimedAtMs));
  }

  started(job: Job): void {
    const hops = this.#hops.get(job);
    if (hops?.claimedAtMs === undefined || hops.startedAtMs !== undefined) return;
    hops.startedAtMs = performance.now();
    const { pool, claimedAtMs, startedAtMs } = hops;
    this.#hop.observe({ pool, hop: "start" }, secondsBetween(claimedAtMs, startedAtMs));
  }

  finished(job: Job): void {
    const hops = this.#hops.get(job);
    if (hops?.startedAtMs === undefined || job.firstPreviewAtMs === undefined) return;
    const { pool, startedAtMs } = hops;
    this.#hop.observe({ pool, hop: "preview" }, secondsBetween(startedAtMs, job.firstPreviewAtMs));
  }

  step(job: Job, seconds: number): void {
    this.#deviceSeconds.set(job, (this.#deviceSeconds.get(job) ?? 0) + seconds);
  }

  ticketPulled(kind: TicketKind, seconds: number): void {
    this.#age.observe({ pool: this.#pool, kind }, seconds);
  }

  ticketRedelivered(kind: TicketKind): void {
    this.#redelivered.inc({ pool: this.#pool, kind });
  }

  ticketClaimed(kind: TicketKind, seconds: number): void {
    this.#claim.observe({ pool: this.#pool, kind }, seconds);
  }

  ticketFailed(pool: string): void {
    this.#failed.inc({ pool });
  }

  requestReticketed(): void {
    this.reticketedRequests += 1;
  }

  runWasted(job: Job): void {
    this.#wasted.inc({ pool: this.#pool }, this.#deviceSeconds.get(job) ?? 0);
    this.#deviceSeconds.delete(job);
  }

  raceLost(stream: string): void {
    this.#races.inc({ stream });
  }

  #hopsOf(job: Job, pool: string): Hops {
    const hops = this.#hops.get(job) ?? { pool };
    this.#hops.set(job, hops);
    return hops;
  }
}

function secondsBetween(fromMs: number, toMs: number): number {
  return Math.max(0, toMs - fromMs) / 1_000;
}
