/** Queued requests of a fleet: accepting them (C6), and their events at many listeners of two gateways (C7). */
import { randomUUID } from "node:crypto";
import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Bus } from "../../src/cluster/bus.ts";
import type { Layout } from "../../src/cluster/layout.ts";
import { FleetStateStore } from "../../src/cluster/storage/state-store.ts";
import { WIRE_VERSION } from "../../src/cluster/wire.ts";
import { deliver, RUN_MS, startFanOut, subscribe, SUBSCRIBERS } from "../fan-out.ts";
import { figure, interleave, median, ratios, type Figure, type Settings } from "../lib/figures.ts";
import { startFleet, type BenchFleet, type NatsServers } from "../lib/fleet.ts";
import { post } from "../lib/post.ts";
import { scratchFolder, startProgram, type BenchServer } from "../lib/processes.ts";
import { monotonicSeconds } from "../lib/servers.ts";
import { BODY } from "./jobs.ts";

/** About as much as a record holds. */
const RECORD_BYTES = 1_024;
const ACCEPTS_A_REPEAT = 10;
/** Until then Node interprets most of the way. */
const WARM_UPS = 40;
/** A request that is refused while the servers have no leader is sent again. */
const ACCEPT_PATIENCE_MS = 60_000;
/** As long as the answer to a request that is accepted. */
const REPLY_BYTES = 640;
/** Of a preview's JPEG, as in P8. */
const JPEG_BYTES = 18_750;
const HOLDER = "bench";
const LEASE_MS = 60_000;
const STEPS = 50;

/**
 * C6: what is accepted is on the disks of two servers. Beside it the least that this can take here: one write of that size to the same
 * stream, and a request to a bare HTTP server.
 */
export async function acceptance(servers: NatsServers, settings: Settings): Promise<Figure[]> {
  await using fleet = await startFleet(servers, settings);
  await using bare = await startProgram("bare-server.ts", {});
  const bus = await fleet.connect();
  const disk = openSync(join(scratchFolder(), "record"), "w");
  const least = async () => ({
    sync: await timed(async () => sync(disk)),
    write: await timed(() => write(bus, fleet.layout)),
    post: await timed(() => post(bare.url, { ...BODY, bytes: REPLY_BYTES })),
  });
  await interleave(WARM_UPS, () => accept(fleet.gateway), least);
  const pairs = await interleave(settings.repeats * ACCEPTS_A_REPEAT, () => timed(() => accept(fleet.gateway)), least);
  closeSync(disk);
  await bus.close();
  const elections: number[] = [];
  const rounds = settings.quick ? 1 : 2;
  for (let round = 0; round < rounds; round += 1) {
    const leader = await servers.leader(fleet.layout.streams.state);
    await leader.kill();
    elections.push(await timed(() => acceptInTime(fleet.gateway)));
    leader.start();
    await servers.ready();
  }
  const ms = (of: (pair: (typeof pairs)[number]) => number): string => (median(pairs.map(of)) * 1_000).toFixed(2);
  const times = pairs.map(({ a, b }) => ({ a, b: b.sync }));
  const floor = median(ratios(pairs.map(({ b }) => ({ a: b.write + b.post, b: b.sync })))).toFixed(1);
  const note =
    `one fsync of ${RECORD_BYTES} bytes: ${ms(({ b }) => b.sync)} ms; accepted in ${ms(({ a }) => a)} ms; ` +
    `a bare write to the stream (${ms(({ b }) => b.write)} ms) and a bare HTTP request (${ms(({ b }) => b.post)} ms): ${floor} ×`;
  const killed = "the leader of the records is killed; an election takes 4 to 9 s";
  return [
    figure({ id: "C6", what: "a queued request is accepted", unit: "×", gate: { most: 5 }, note }, ratios(times)),
    figure({ id: "C6", what: "the same during an election", unit: "s", gate: { most: 10 }, note: killed }, elections),
  ];
}

/** C7: one request's previews to listeners at two gateways, beside P8's single process. */
export async function fanOutOfFleet(servers: NatsServers, settings: Settings): Promise<Figure[]> {
  await using fleet = await startFleet(servers, settings);
  const gateways = [fleet.gateway, await fleet.addGateway()];
  await using alone = await startFanOut();
  const runs = await interleave(
    settings.quick ? 1 : Math.min(3, settings.repeats),
    () => deliverOverFleet(fleet, gateways),
    async () => (await deliver(alone, `${alone.url}/ours`)).previewsPerSecond,
  );
  const note = `one process: ${median(runs.map(({ b }) => b)).toFixed(0)} events/s; ${SUBSCRIBERS} listeners, 25 kB previews`;
  const what = "preview events over 2 gateways";
  return [figure({ id: "C7", what, unit: "×", gate: { least: 0.5 }, note }, ratios(runs))];
}

/** Preview events a second, all listeners together. This process stands in for the node: it says what a node says as fast as all hear it. */
async function deliverOverFleet(fleet: BenchFleet, gateways: readonly BenchServer[]): Promise<number> {
  const id = await accept(fleet.gateway);
  const bus = await fleet.connect();
  const { layout } = fleet;
  const claim = await new FleetStateStore({ bus, layout, keepMs: LEASE_MS }).claim(id, `1@${HOLDER}`, LEASE_MS);
  if (typeof claim === "string") throw new Error(`the request is ${claim}`);
  const at = (index: number): BenchServer => gateways[index % gateways.length] ?? fleet.gateway;
  const readers = await Promise.all(
    Array.from({ length: SUBSCRIBERS }, (_, index) => subscribe(`${at(index).url}/requests/${id}/events`, false)),
  );
  const image = { content_type: "image/jpeg", width: 512, height: 512, seed: 0 };
  const part = { ...image, image: 0, images: 1, part: 0, of: 1 };
  const began = monotonicSeconds();
  const endsAt = began + RUN_MS / 1_000;
  for (let n = 1; monotonicSeconds() < endsAt; n += 1) {
    const event = { kind: "preview", step: n % STEPS, total_steps: STEPS, part };
    const header = { v: WIRE_VERSION, id, run: claim.revision, n, c: 0, event };
    bus.publish(layout.events(id), header, Buffer.alloc(JPEG_BYTES, n));
    while (readers.some(({ previews }) => previews < n) && monotonicSeconds() < endsAt) await turn();
  }
  const seconds = monotonicSeconds() - began;
  const events = readers.reduce((sum, { previews }) => sum + previews, 0);
  for (const { response } of readers) response.destroy();
  await bus.close();
  return events / seconds;
}

async function accept({ url }: BenchServer): Promise<string> {
  const accepted = await post(`${url}/queue/local/sdxl`, BODY);
  return (JSON.parse(accepted.toString()) as { request_id: string }).request_id;
}

/** As a gateway writes a record that must be new. */
function write(bus: Bus, layout: Layout): Promise<number> {
  const id = randomUUID();
  const half = RECORD_BYTES / 2;
  const header = { v: 1, id, text: "x".repeat(half) };
  // A certificate of a death: gateways would read a request or a pool.
  return bus.put(layout.streams.state, layout.death(HOLDER, id), header, Buffer.alloc(half), { expected: 0, id });
}

async function acceptInTime(gateway: BenchServer): Promise<void> {
  const endsAt = performance.now() + ACCEPT_PATIENCE_MS;
  let last: unknown;
  while (performance.now() < endsAt) {
    try {
      await accept(gateway);
      return;
    } catch (error) {
      last = error;
    }
  }
  throw last;
}

function sync(disk: number): void {
  writeSync(disk, Buffer.alloc(RECORD_BYTES));
  fsyncSync(disk);
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = monotonicSeconds();
  await work();
  return monotonicSeconds() - began;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
