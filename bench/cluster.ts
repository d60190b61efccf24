/** What a fleet costs and gains (C1 to C5, C9): beside a single process, and the rule by which nodes ask for work beside plain ranking. */
import { setTimeout as pause } from "node:timers/promises";
import { figure, interleave, median, p95, ratios, type Figure, type Settings } from "./lib/figures.ts";
import { startFleet, startNatsCluster, type BenchFleet } from "./lib/fleet.ts";
import { monotonicSeconds, startStubServer } from "./lib/servers.ts";
import { stream, type StreamTimes } from "./lib/stream-client.ts";

const STEP_MS = 30;
const STEPS = 20;
/** Small previews: nine processes share the cores here, and none of what is measured is encoding. */
const BODY = {
  prompt: "a",
  num_inference_steps: STEPS,
  preview: { every: 1, max_per_second: 10, decoder: "linear" },
};

/** Speeds of four nodes, the fastest at 1. */
const UNEVEN = [
  [1, 1, 1, 1 / 4],
  [1, 1, 1 / 2, 1 / 4],
] as const;

interface Arrivals {
  readonly speeds: readonly number[];
  /** What a job takes of a node at speed 1 that is never idle. */
  readonly jobSeconds: number;
}

type Cluster = Awaited<ReturnType<typeof startNatsCluster>>;

export async function cluster(settings: Settings): Promise<Figure[]> {
  await using servers = await startNatsCluster();
  const costs = await beside(servers, settings);
  const { figures, jobSeconds } = await throughputAndLoad(servers, settings);
  for (const speeds of UNEVEN) figures.push(...(await uneven(servers, settings, { speeds, jobSeconds })));
  return [...costs, ...figures, ...(await death(servers, settings))];
}

/** C1, C2: one request at a time, over a gateway and a node, beside one process. */
async function beside(servers: Cluster, settings: Settings): Promise<Figure[]> {
  await using fleet = await startFleet(servers, settings);
  await fleet.addNode(STEP_MS);
  await using single = await startStubServer(settings, { stepMs: STEP_MS });
  await Promise.all([stream(fleet.gateway.url, BODY), stream(single.url, BODY)]);
  const pairs = await interleave(
    settings.repeats * 2,
    () => stream(fleet.gateway.url, BODY),
    () => stream(single.url, BODY),
  );
  const first = pairs.map(({ a, b }) => ({ a: firstPreview(a), b: firstPreview(b) }));
  const whole = pairs.map(({ a, b }) => ({ a: a.ended - a.posted, b: b.ended - b.posted }));
  const extraMs = first.map(({ a, b }) => (a - b) * 1_000);
  const note = `a single process: ${(median(first.map(({ b }) => b)) * 1_000).toFixed(1)} ms`;
  return [
    figure({ id: "C1", what: "first preview, idle", unit: "×", gate: { most: 1.25 }, note }, ratios(first)),
    figure({ id: "C1", what: "the same, more", unit: "ms", gate: { most: 8 }, note }, extraMs),
    figure(
      { id: "C2", what: `whole image of ${STEPS} steps`, unit: "×", gate: { most: 1.03 }, note: "a single process" },
      ratios(whole),
    ),
  ];
}

/** C3, C4: equal nodes. */
async function throughputAndLoad(
  servers: Cluster,
  settings: Settings,
): Promise<{ readonly figures: Figure[]; readonly jobSeconds: number }> {
  await using fleet = await startFleet(servers, settings);
  const jobs = settings.quick ? 16 : 32;
  const seconds: number[] = [];
  for (let nodes = 1; nodes <= 4; nodes += 1) {
    await fleet.addNode(STEP_MS);
    if (nodes !== 3) seconds.push(await burst(fleet, jobs));
  }
  const [one = 0, two = 0, four = 0] = seconds;
  const note = `${jobs} images of ${STEPS} steps at once, one node: ${one.toFixed(2)} s`;
  const jobSeconds = one / jobs;
  const loaded = inSteps(await underLoad(fleet, settings, { speeds: [1, 1, 1, 1], jobSeconds }));
  const figures = [
    figure({ id: "C3", what: "throughput of 2 nodes", unit: "×", gate: { least: 1.9 }, note }, [one / two]),
    figure({ id: "C3", what: "throughput of 4 nodes", unit: "×", gate: { least: 3.8 }, note }, [one / four]),
    figure(
      { id: "C4", what: "first preview, load 0.8, median", unit: "steps", gate: { most: 1.5 }, note: "4 equal nodes" },
      [median(loaded)],
    ),
    figure(
      { id: "C4", what: "first preview, load 0.8, p95", unit: "steps", gate: { most: 3 }, note: "4 equal nodes" },
      [p95(loaded)],
    ),
  ];
  return { figures, jobSeconds };
}

/** C5: nodes of different speed. The same arrivals under the rule and under plain ranking. */
async function uneven(servers: Cluster, settings: Settings, arrivals: Arrivals): Promise<Figure[]> {
  const { speeds } = arrivals;
  const arm = async (rule: string): Promise<{ readonly late: number; readonly mean: number }> => {
    await using fleet = await startFleet(servers, settings, rule);
    for (const speed of speeds) await fleet.addNode(STEP_MS / speed);
    const times = await underLoad(fleet, settings, arrivals);
    const mean = times.reduce((sum, { posted, ended }) => sum + ended - posted, 0) / times.length;
    return { late: p95(inSteps(times)), mean };
  };
  const [rule, plain] = [await arm("ours"), await arm("plain")];
  const nodes = `nodes ${speeds.join(", ")}`;
  return [
    figure(
      {
        id: "C5",
        what: `first preview, load 0.8, ${nodes}, p95`,
        unit: "steps",
        gate: { most: 3 },
        note: `plain ranking, the same arrivals: ${plain.late.toFixed(1)} steps`,
      },
      [rule.late],
    ),
    figure({ id: "C5", what: `mean completion, ${nodes}`, unit: "×", note: "plain ranking" }, [rule.mean / plain.mean]),
  ];
}

/** C9: from the end of a node to the next preview of its job, on the same connection. */
async function death(servers: Cluster, settings: Settings): Promise<Figure[]> {
  const waits: number[] = [];
  const rounds = settings.quick ? 2 : 3;
  for (let round = 0; round < rounds; round += 1) {
    await using fleet = await startFleet(servers, settings);
    const victim = await fleet.addNode(STEP_MS);
    const long = { ...BODY, num_inference_steps: 50 };
    const seen = previewTimes(fleet.gateway.url, long);
    while (seen.times.length < 3) await pause(5);
    const rescuer = fleet.addNode(STEP_MS);
    await pause(STEP_MS);
    const killed = monotonicSeconds();
    victim.kill();
    await seen.ended;
    await rescuer.catch(() => undefined);
    waits.push((seen.times.find((at) => at > killed + 1) ?? Number.NaN) - killed);
  }
  const note = "killed in the middle of an image; 6 s of silence are what makes a node dead";
  return [figure({ id: "C9", what: "node killed, next preview", unit: "s", gate: { most: 8 }, note }, waits)];
}

function firstPreview({ firstPreview: seen = Number.NaN, posted }: StreamTimes): number {
  return seen - posted;
}

function inSteps(times: readonly StreamTimes[]): number[] {
  return times.map((each) => (firstPreview(each) * 1_000) / STEP_MS);
}

async function burst({ gateway }: BenchFleet, jobs: number): Promise<number> {
  const began = monotonicSeconds();
  await Promise.all(Array.from({ length: jobs }, () => stream(gateway.url, BODY)));
  return monotonicSeconds() - began;
}

/** Arrivals at random, the same in every arm, that keep four fifths of the devices busy. */
async function underLoad(
  { gateway }: BenchFleet,
  settings: Settings,
  { speeds, jobSeconds }: Arrivals,
): Promise<StreamTimes[]> {
  const jobs = settings.quick ? 40 : 100;
  const perSecond = (0.8 * speeds.reduce((sum, speed) => sum + speed, 0)) / jobSeconds;
  const random = seeded(1);
  const running: Promise<StreamTimes>[] = [];
  let next = monotonicSeconds();
  for (let job = 0; job < jobs; job += 1) {
    next -= Math.log(1 - random()) / perSecond;
    await pause(Math.max(0, (next - monotonicSeconds()) * 1_000));
    running.push(stream(gateway.url, BODY));
  }
  return Promise.all(running);
}

/** Numbers from 0 to 1 that are the same each time (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** When each preview of a stream came. */
function previewTimes(url: string, body: object): { readonly times: number[]; readonly ended: Promise<void> } {
  const times: number[] = [];
  const read = async (): Promise<void> => {
    const headers = { "content-type": "application/json" };
    const response = await fetch(`${url}/stream`, { method: "POST", headers, body: JSON.stringify(body) });
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? [])
      if (decoder.decode(chunk).includes('"preview":')) times.push(monotonicSeconds());
  };
  return { times, ended: read() };
}
