/** The metrics of one server, for Prometheus. Each server has a registry of its own, so two in one process do not add up. */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import type { TerminalEvent } from "../jobs/events.ts";
import type { Job } from "../jobs/job.ts";
import type { JobObserver } from "../jobs/observer.ts";
import type { Jobs } from "../jobs/jobs.ts";
import type { ServerReading } from "../cluster/observer.ts";
import { watchCluster } from "./cluster-gauges.ts";
import { FleetMetrics } from "./fleet-metrics.ts";
import { watchServers } from "./server-gauges.ts";
import { watchWorkers } from "./worker-gauges.ts";

/** From a tiny image on a good card to a large one behind a queue. */
const SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320];
/** Steps and previews: 5 ms on the smallest images, some seconds on a CPU. */
const STEP_SECONDS = [0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24];

export class Metrics implements JobObserver {
  readonly registry = new Registry();
  /** Also counts jobs of a process that is part of a fleet. */
  readonly fleet: FleetMetrics;
  readonly sseClients: Gauge;
  readonly realtimeClients: Gauge;
  readonly realtimeSuperseded: Counter;
  readonly httpRequest: Histogram<"method" | "route" | "status">;
  readonly #accepted: Counter;
  readonly #finished: Counter<"outcome" | "code">;
  readonly #queueWait: Histogram;
  readonly #firstPreview: Histogram;
  readonly #jobSeconds: Histogram;
  readonly #stepSeconds: Histogram;
  readonly #previewSeconds: Histogram;
  readonly #dropped: Counter;
  readonly #cancelledSeconds: Counter;

  /** @param pool Of a process that is part of a fleet. */
  constructor(pool?: string) {
    this.fleet = new FleetMetrics(this.registry, pool);
    const registers = [this.registry];
    const histogram = (name: string, help: string, buckets: number[]): Histogram =>
      new Histogram({ name: `latentcast_${name}`, help, buckets, registers });
    const counter = (name: string, help: string): Counter =>
      new Counter({ name: `latentcast_${name}`, help, registers });

    collectDefaultMetrics({ register: this.registry });
    this.#accepted = counter("jobs_accepted_total", "Jobs accepted.");
    this.#finished = new Counter({
      name: "latentcast_jobs_finished_total",
      help: "Jobs that ended, by outcome (succeeded, failed, cancelled) and code (error code or reason of cancellation).",
      labelNames: ["outcome", "code"],
      registers,
    });
    this.#queueWait = histogram("queue_wait_seconds", "From acceptance to the worker's start.", SECONDS);
    this.#firstPreview = histogram("first_preview_seconds", "From acceptance to the first preview.", SECONDS);
    this.#jobSeconds = histogram(
      "job_seconds",
      "From acceptance to the finished image; successful jobs only.",
      SECONDS,
    );
    this.#stepSeconds = histogram("step_seconds", "Device time of one denoising step of one job.", STEP_SECONDS);
    this.#previewSeconds = histogram("preview_seconds", "Decoding and encoding of one preview.", STEP_SECONDS);
    this.#dropped = counter("previews_dropped_total", "Previews that slow clients missed.");
    this.#cancelledSeconds = counter(
      "cancelled_device_seconds_total",
      "Device time spent on jobs that were then cancelled.",
    );
    this.sseClients = new Gauge({ name: "latentcast_sse_clients", help: "Event streams that are open.", registers });
    this.realtimeClients = new Gauge({
      name: "latentcast_realtime_clients",
      help: "Realtime connections that are open.",
      registers,
    });
    this.realtimeSuperseded = counter(
      "realtime_superseded_total",
      "Inputs of realtime connections whose place a newer one took.",
    );
    this.httpRequest = new Histogram({
      name: "latentcast_http_request_seconds",
      help: "Requests, from the first byte to the last byte of the response.",
      labelNames: ["method", "route", "status"],
      buckets: SECONDS,
      registers,
    });
  }

  /**
   * Adds what is read at the time of the scrape. To be called once.
   * @param readServers Of a process that is part of a fleet.
   */
  watch(jobs: Jobs, readServers?: () => Promise<ServerReading>): void {
    watchWorkers(this.registry, jobs);
    watchCluster(this.registry, jobs, this.fleet);
    watchServers(this.registry, readServers);
  }

  accepted(): void {
    this.#accepted.inc();
  }

  started(job: Job): void {
    // A job whose worker died starts a second time; its wait is counted once.
    if (job.deaths === 0 && job.startedAtMs !== undefined)
      this.#queueWait.observe(seconds(job.acceptedAtMs, job.startedAtMs));
  }

  step(_job: Job, stepSeconds: number): void {
    this.#stepSeconds.observe(stepSeconds);
  }

  preview(_job: Job, previewSeconds: number): void {
    this.#previewSeconds.observe(previewSeconds);
  }

  finished(job: Job, event: TerminalEvent): void {
    this.#finished.inc({ outcome: event.kind, code: codeOf(event) });
    this.#dropped.inc(job.dropped);
    if (job.firstPreviewAtMs !== undefined) this.#firstPreview.observe(seconds(job.acceptedAtMs, job.firstPreviewAtMs));
    if (event.kind === "succeeded") this.#jobSeconds.observe(seconds(job.acceptedAtMs, performance.now()));
  }

  cancelled(_job: Job, deviceSeconds: number): void {
    this.#cancelledSeconds.inc(deviceSeconds);
  }
}

function seconds(fromMs: number, toMs: number): number {
  return (toMs - fromMs) / 1_000;
}

function codeOf(event: TerminalEvent): string {
  if (event.kind === "succeeded") return "ok";
  return event.kind === "failed" ? event.error.code : event.reason;
}
