/** Throughput and first previews of a fleet under load (C3, C4, C5, C5b): the rule by which nodes ask, beside plain ranking. */
import { arrive, type Arrivals } from "../lib/arrivals.ts";
import { figure, median, p95, type Figure, type Settings } from "../lib/figures.ts";
import { startFleet, type BenchFleet, type NatsServers } from "../lib/fleet.ts";
import { monotonicSeconds } from "../lib/servers.ts";
import type { StreamTimes } from "../lib/stream-client.ts";
import { draw, inSteps, meanSeconds, p99, STEP_MS, STEPS } from "./jobs.ts";
import { underOracle } from "./oracle.ts";

const EQUAL = [1, 1, 1, 1];
const BURST = 12;
const STEADY_LOAD = 0.8;
/** Queues of uneven nodes vary: with fewer, one run says little. */
const STEADY_JOBS = { equal: 80, uneven: 120 };

/** Arrivals that keep this share of the devices busy. @param jobSeconds What a job takes of a device at speed 1. */
function arrivalsAt(load: number, speeds: readonly number[], jobSeconds: number, jobs: number): Arrivals {
  return { jobs, perSecond: (load * speeds.reduce((sum, speed) => sum + speed, 0)) / jobSeconds };
}

export interface Throughput {
  readonly figures: Figure[];
  readonly jobSeconds: number;
}

/** C3, C4, C5b: four equal nodes. */
export async function equalNodes(servers: NatsServers, settings: Settings): Promise<Throughput> {
  const jobs = settings.quick ? 8 : 24;
  const seconds: number[] = [];
  let jobSeconds = Number.NaN;
  const steady = (): Arrivals => arrivalsAt(STEADY_LOAD, EQUAL, jobSeconds, settings.quick ? 20 : STEADY_JOBS.equal);
  const loads = async (fleet: BenchFleet): Promise<{ readonly steady: number[]; readonly bursts: number[] }> => {
    const bursts = { ...arrivalsAt(0.6, EQUAL, jobSeconds, (settings.quick ? 2 : 9) * BURST), burst: BURST };
    const submit = (): Promise<StreamTimes> => draw(fleet.gateway);
    return { steady: inSteps(await arrive(steady(), submit)), bursts: inSteps(await arrive(bursts, submit)) };
  };
  const rule = await (async () => {
    await using fleet = await startFleet(servers, settings);
    for (const nodes of [1, 1, 2]) {
      await fleet.addNodes(Array.from({ length: nodes }, () => STEP_MS));
      seconds.push(await burst(fleet, jobs));
    }
    jobSeconds = (seconds[0] ?? Number.NaN) / jobs;
    return await loads(fleet);
  })();
  const plain = await (async () => {
    await using fleet = await startFleet(servers, settings, "plain");
    await fleet.addNodes(EQUAL.map(() => STEP_MS));
    return await loads(fleet);
  })();
  const oracle = inSteps(await underOracle(settings, { speeds: EQUAL, jobSeconds, arrivals: steady() }));
  const [one = 0, two = 0, four = 0] = seconds;
  const note = `${jobs} images of ${STEPS} steps at once, one node: ${one.toFixed(2)} s`;
  const beside = (value: number): string => `4 equal nodes; plain ranking with 16 slots: ${value.toFixed(1)}`;
  const steadily = (what: string, most: number, of: (values: readonly number[]) => number): Figure => {
    const arms = `${beside(of(plain.steady))}; central oracle: ${of(oracle).toFixed(1)}`;
    return figure(
      { id: "C4", what: `first preview, load ${STEADY_LOAD}, ${what}`, unit: "steps", gate: { most }, note: arms },
      [of(rule.steady)],
    );
  };
  const late = { what: `first preview, bursts of ${BURST} at load 0.6, p99`, note: beside(p99(plain.bursts)) };
  return {
    jobSeconds,
    figures: [
      figure({ id: "C3", what: "throughput of 2 nodes", unit: "×", gate: { least: 1.9 }, note }, [one / two]),
      figure({ id: "C3", what: "throughput of 4 nodes", unit: "×", gate: { least: 3.8 }, note }, [one / four]),
      steadily("median", 1.5, median),
      steadily("p95", 3, p95),
      figure({ id: "C5b", ...late, unit: "steps", gate: { most: 12 } }, [p99(rule.bursts)]),
    ],
  };
}

/** C5: nodes of different speed. The same arrivals under the rule, under plain ranking, and placed by an oracle. */
export async function unevenNodes(
  servers: NatsServers,
  settings: Settings,
  { speeds, jobSeconds }: { readonly speeds: readonly number[]; readonly jobSeconds: number },
): Promise<Figure[]> {
  const arrivals = arrivalsAt(STEADY_LOAD, speeds, jobSeconds, settings.quick ? 20 : STEADY_JOBS.uneven);
  const arm = async (name: string): Promise<StreamTimes[]> => {
    await using fleet = await startFleet(servers, settings, name);
    await fleet.addNodes(speeds.map((speed) => STEP_MS / speed));
    return await arrive(arrivals, () => draw(fleet.gateway));
  };
  const [rule, plain] = [await arm("ours"), await arm("plain")];
  const oracle = await underOracle(settings, { speeds, jobSeconds, arrivals });
  const late = (times: readonly StreamTimes[]): number => p95(inSteps(times));
  const nodes = `nodes ${speeds.join(", ")}`;
  const [first, mean] = [
    `plain ranking: ${late(plain).toFixed(1)}; central oracle: ${late(oracle).toFixed(1)}`,
    `central oracle: ${meanSeconds(oracle).toFixed(2)} s; plain ranking: ${(meanSeconds(plain) / meanSeconds(oracle)).toFixed(2)} ×`,
  ];
  return [
    figure(
      {
        id: "C5",
        what: `first preview, load ${STEADY_LOAD}, ${nodes}, p95`,
        unit: "steps",
        gate: { most: 3 },
        note: first,
      },
      [late(rule)],
    ),
    figure({ id: "C5", what: `mean completion, ${nodes}`, unit: "×", gate: { most: 1.15 }, note: mean }, [
      meanSeconds(rule) / meanSeconds(oracle),
    ]),
  ];
}

async function burst({ gateway }: BenchFleet, jobs: number): Promise<number> {
  const began = monotonicSeconds();
  await Promise.all(Array.from({ length: jobs }, () => draw(gateway)));
  return monotonicSeconds() - began;
}
