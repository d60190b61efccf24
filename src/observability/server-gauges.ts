/** The NATS servers as this process sees them, asked when Prometheus asks. On a server that is alone they have no samples. */
import { Gauge, type Registry } from "prom-client";
import type { ServerReading, StreamReading } from "../cluster/observer.ts";

/** @param read Undefined for a process that is part of no fleet. */
export function watchServers(registry: Registry, read: (() => Promise<ServerReading>) | undefined): void {
  const registers = [registry];

  new Gauge({
    name: "latentcast_cluster_nats_rtt_seconds",
    help: "From this process to its NATS server and back; absent when there is no answer.",
    registers,
    async collect() {
      // One without labels has a sample of 0 until it is removed.
      this.remove();
      const seconds = (await read?.())?.roundTripSeconds;
      if (seconds !== undefined) this.set(seconds);
    },
  });
  perStream("stream_bytes", "What a stream holds.", ({ bytes }) => bytes);
  perStream("stream_limit_bytes", "What it may hold.", ({ maxBytes }) => maxBytes);
  perStream(
    "stream_servers_away",
    "Servers that should keep a copy of it and are not heard.",
    (each) => each.awayServers,
  );

  function perStream(name: string, help: string, valueOf: (reading: StreamReading) => number): void {
    new Gauge({
      name: `latentcast_cluster_${name}`,
      help,
      labelNames: ["stream"],
      registers,
      async collect() {
        const streams = (await read?.())?.streams ?? [];
        this.reset();
        for (const reading of streams) this.set({ stream: reading.stream }, valueOf(reading));
      },
    });
  }
}
