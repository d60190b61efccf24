/** Gauges about queue and workers, read when Prometheus asks: nothing is stored that the orchestrator knows already. */
import { Counter, Gauge, type Registry } from "prom-client";
import type { Jobs } from "../jobs/jobs.ts";
import type { ServiceSnapshot } from "../schema/health.ts";

type Worker = ServiceSnapshot["workers"][number];

const STATES = ["starting", "ready", "draining", "backoff", "failed", "stopped"];

export function watchWorkers(registry: Registry, jobs: Jobs): void {
  const registers = [registry];

  gauge("queue_length", "Jobs that have not begun to be drawn.", ({ queue }) => queue.waiting);
  gauge("jobs_in_flight", "Jobs that workers hold.", ({ workers }) =>
    workers.reduce((sum, worker) => sum + worker.jobs, 0),
  );
  gauge("ready", "1 when a job would start, as in GET /ready.", ({ status }) =>
    status === "ready" || status === "busy" ? 1 : 0,
  );
  total("worker_restarts_total", "Worker processes started after the first of each slot.", "restarts");
  total("protocol_stale_total", "Messages about jobs or processes that have ended.", "stale");
  total("protocol_garbage_total", "Messages from workers that could not be decoded.", "garbage");

  new Gauge({
    name: "latentcast_worker_state",
    help: "1 for the state that a worker slot is in.",
    labelNames: ["slot", "state"],
    registers,
    collect() {
      for (const { slot, state } of jobs.snapshot().workers)
        for (const kind of STATES) this.set({ slot, state: kind }, state === kind ? 1 : 0);
    },
  });
  new Gauge({
    name: "latentcast_worker_info",
    help: "1 for each worker that is ready, with its device and model.",
    labelNames: ["slot", "device", "device_name", "dtype", "model"],
    registers,
    collect() {
      this.reset();
      const { workers, model } = jobs.snapshot();
      for (const { slot, device } of workers) {
        if (device === undefined || model === null) continue;
        this.set({ slot, device: device.id, device_name: device.name, dtype: device.dtype, model: model.id }, 1);
      }
    },
  });
  perWorker("worker_resident_bytes", "Host memory of the worker process.", ({ vitals }) => vitals?.resident_bytes);
  perWorker(
    "device_memory_used_bytes",
    "Device memory that the worker holds.",
    ({ vitals }) => vitals?.device_memory_bytes,
  );
  perWorker("device_memory_bytes", "Device memory that there is.", ({ device }) => device?.memory_bytes);

  function gauge(name: string, help: string, read: (snapshot: ServiceSnapshot) => number): void {
    new Gauge({
      name: `latentcast_${name}`,
      help,
      registers,
      collect() {
        this.set(read(jobs.snapshot()));
      },
    });
  }

  function total(name: string, help: string, counter: "restarts" | "stale" | "garbage"): void {
    new Counter({
      name: `latentcast_${name}`,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(jobs.snapshot().counters[counter]);
      },
    });
  }

  function perWorker(name: string, help: string, read: (worker: Worker) => number | undefined): void {
    new Gauge({
      name: `latentcast_${name}`,
      help,
      labelNames: ["slot"],
      registers,
      collect() {
        this.reset();
        for (const worker of jobs.snapshot().workers) {
          const value = read(worker);
          if (value !== undefined) this.set({ slot: worker.slot }, value);
        }
      },
    });
  }
}
