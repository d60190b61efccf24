/** Many subscribers of one picture, one of them stalled (P8): rate beside a raw loop, memory, and that nothing is lost but previews. */
import { get, type IncomingMessage } from "node:http";
import { figure, interleave, type Figure, type Settings } from "./lib/figures.ts";
import { startProgram, type BenchServer, type ServerStats } from "./lib/processes.ts";

export const SUBSCRIBERS = 100;
export const RUN_MS = 2_000;

interface FanOutStats extends ServerStats {
  readonly peakRssBytes: number;
  readonly rawUrl: string;
}

interface Delivery {
  readonly previewsPerSecond: number;
  /** Server's processor time for one event to one subscriber. */
  readonly cpuUsPerEvent: number;
  readonly rssGrowthMb: number;
  /** Readers (the stalled one among them) that missed a progress event or the result. */
  readonly losses: number;
}

export async function fanOut({ repeats }: Settings): Promise<Figure[]> {
  await using server = await startFanOut();
  const { rawUrl } = await stats(server);
  const runs = await interleave(
    repeats,
    () => deliver(server, `${server.url}/ours`),
    () => deliver(server, `${rawUrl}/raw`),
  );
  const note = `raw loop with shared frames; ${SUBSCRIBERS} subscribers, 25 kB previews, one stalled`;
  return [
    figure(
      { id: "P8", what: "preview events a second", unit: "×", gate: { least: 0.7 }, note },
      runs.map(({ a, b }) => a.previewsPerSecond / b.previewsPerSecond),
    ),
    figure(
      { id: "P8", what: "preview events a second", unit: "events/s", note: "all subscribers together" },
      runs.map(({ a }) => a.previewsPerSecond),
    ),
    figure(
      { id: "P8", what: "server CPU for an event", unit: "×", note: "raw loop" },
      runs.map(({ a, b }) => a.cpuUsPerEvent / b.cpuUsPerEvent),
    ),
    figure(
      {
        id: "P8",
        what: "peak memory growth",
        unit: "MB",
        gate: { most: 50 },
        note: "with the stalled client; raw loop for comparison grows as its sockets fill",
      },
      runs.map(({ a }) => a.rssGrowthMb),
    ),
    figure(
      {
        id: "P8",
        what: "readers that missed progress or result",
        unit: "",
        gate: { most: 0 },
        note: "the stalled one, which reads on at the end, included",
      },
      runs.map(({ a }) => a.losses),
    ),
  ];
}

export function startFanOut(): Promise<BenchServer> {
  return startProgram("fan-out-server.ts", {
    LATENTCAST_BENCH_FAN_OUT_MS: String(RUN_MS),
    LATENTCAST_BENCH_SUBSCRIBERS: String(SUBSCRIBERS),
  });
}

/** What one reader got, counted without parsing more than needed. */
interface Reader {
  readonly response: IncomingMessage;
  readonly ended: Promise<void>;
  bytes: number;
  progress: number;
  previews: number;
  hasResult: boolean;
}

export async function deliver(server: BenchServer, url: string): Promise<Delivery> {
  const before = await stats(server);
  const readers = await Promise.all(Array.from({ length: SUBSCRIBERS }, (_, index) => subscribe(url, index === 0)));
  const began = performance.now();
  const [stalled, ...reading] = readers;
  if (stalled === undefined) throw new Error("no subscribers");
  await Promise.all(reading.map(({ ended }) => ended));
  const seconds = (performance.now() - began) / 1_000;
  const after = await stats(server);
  stalled.response.resume();
  await stalled.ended;
  const published = Math.max(...reading.map(({ progress }) => progress));
  const events = reading.reduce((sum, { previews }) => sum + previews, 0);
  return {
    previewsPerSecond: events / seconds,
    cpuUsPerEvent: ((after.cpuMs - before.cpuMs) * 1_000) / events,
    rssGrowthMb: (after.peakRssBytes - before.rssBytes) / 2 ** 20,
    losses: readers.filter(({ progress, hasResult }) => progress < published || !hasResult).length,
  };
}

export function subscribe(url: string, isStalled: boolean): Promise<Reader> {
  return new Promise((resolve, reject) => {
    get(url, { agent: false, headers: isStalled ? { "x-reader": "stalled" } : {} }, (response) => {
      let finish: () => void = () => undefined;
      const reader: Reader = {
        response,
        ended: new Promise((ended) => {
          finish = ended;
        }),
        bytes: 0,
        progress: 0,
        previews: 0,
        hasResult: false,
      };
      let tail = "";
      response.on("data", (chunk: Buffer) => {
        reader.bytes += chunk.length;
        // The names of events are all that matters; a name may be cut in two by the end of a chunk.
        const text = tail + chunk.toString("latin1");
        reader.progress += occurrences(text, "event: progress\n");
        reader.previews += occurrences(text, "event: preview\n");
        reader.hasResult ||= text.includes("event: result\n");
        const keep = text.lastIndexOf("\n", text.length - 2);
        tail = text.length - keep < 20 ? text.slice(keep + 1) : "";
      });
      response.once("end", finish);
      response.once("error", finish);
      if (isStalled) response.pause();
      resolve(reader);
    }).once("error", reject);
  });
}

function occurrences(text: string, name: string): number {
  let count = 0;
  for (let at = text.indexOf(name); at >= 0; at = text.indexOf(name, at + name.length)) count += 1;
  return count;
}

async function stats(server: BenchServer): Promise<FanOutStats> {
  return (await server.stats()) as FanOutStats;
}
