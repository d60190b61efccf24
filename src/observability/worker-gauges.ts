/** Gauges about queue and workers, read when Prometheus asks: nothing is stored that the orchestrator knows already. */
import { Counter, Gauge, type Registry } from "prom-client";
import type { Orchestrator } from "../jobs/service.ts";
import type { SlotState } from "../worker/slot-state.ts";

const STATES = [
  "starting",
  "ready",
  "draining",
  "backoff",
  "failed",
  "stopped",
] as const satisfies readonly SlotState["kind"][];

export function watchWorkers(registry: Registry, orchestrator: Orchestrator): void {
  const registers = [registry];
  const { dispatcher, pool } = orchestrator;

  gauge("queue_length", "Jobs that wait for a worker.", () => dispatcher.waiting);
  gauge("jobs_in_flight", "Jobs that workers hold.", () =>
    pool.slots.reduce((sum, { slot }) => sum + dispatcher.jobsInFlight(slot), 0),
  );
  gauge("ready", "1 when a job would start, as in GET /ready.", () =>
    orchestrator.status.kind === "ready" || orchestrator.status.kind === "busy" ? 1 : 0,
  );
  total(
    "worker_restarts_total",
    "Worker processes started after the first of each slot.",
    () => pool.counters.restarts,
  );
  total(
    "protocol_stale_total",
    "Messages of jobs or processes that are gone.",
    () => pool.counters.stale + dispatcher.stale,
  );
  total("protocol_garbage_total", "Bytes from workers that were no message.", () => pool.counters.garbage);

  new Gauge({
    name: "latentcast_worker_state",
    help: "1 for the state that a worker slot is in.",
    labelNames: ["slot", "state"],
    registers,
    collect() {
      for (const { slot, state } of pool.slots)
        for (const kind of STATES) this.set({ slot, state: kind }, state.kind === kind ? 1 : 0);
    },
  });
  new Gauge({
    name: "latentcast_worker_info",
    help: "1 for each worker that is ready, with what it runs on.",
    labelNames: ["slot", "device", "device_name", "dtype", "model"],
    registers,
    collect() {
      this.reset();
      for (const { slot, state } of pool.slots) {
        if (state.kind !== "ready") continue;
        const { device, model } = state.info;
        this.set({ slot, device: device.id, device_name: device.name, dtype: device.dtype, model: model.id }, 1);
      }
    },
  });
  perWorker("worker_resident_bytes", "Host memory of the worker process.", (vitals) => vitals.rss_bytes);
  perWorker("device_memory_used_bytes", "Device memory that the worker holds.", (vitals) => vitals.device_memory_bytes);
  new Gauge({
    name: "latentcast_device_memory_bytes",
    help: "Device memory that there is.",
    labelNames: ["slot"],
    registers,
    collect() {
      this.reset();
      for (const { slot, state } of pool.slots)
        if (state.kind === "ready") this.set({ slot }, state.info.device.memory_bytes);
    },
  });

  function gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name: `latentcast_${name}`,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  }

  function total(name: string, help: string, read: () => number): void {
    new Counter({
      name: `latentcast_${name}`,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  }

  function perWorker(
    name: string,
    help: string,
    read: (vitals: NonNullable<(typeof pool.slots)[number]["vitals"]>) => number,
  ): void {
    new Gauge({
      name: `latentcast_${name}`,
      help,
      labelNames: ["slot"],
      registers,
      collect() {
        this.reset();
        for (const { slot, vitals } of pool.slots) if (vitals !== undefined) this.set({ slot }, read(vitals));
      },
    });
  }
}
