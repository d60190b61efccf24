/** What previews cost the steps beside them (P2), and whether encoding them stalls the thread that feeds the device (P3). */
import { figure, interleave, p95, quantile, ratios, type Figure, type Settings } from "./lib/figures.ts";
import { startStubServer, type StubServer, type TracedStep } from "./lib/servers.ts";
import { stream } from "./lib/stream-client.ts";

const STEP_MS = 30;
const STEPS = 40;
/** Short steps give more gaps in the same time; a preview takes half of one, so that no step has to wait for its slot. */
const STALL_STEP_MS = 20;

const OFF = false;
const LINEAR = { every: 1, decoder: "linear" };
const CAPPED = { every: 1, max_per_second: 10, decoder: "tae" };
const EVERY_STEP = { every: 1, decoder: "tae" };

export async function previews(settings: Settings): Promise<Figure[]> {
  await using server = await startStubServer(settings, { stepMs: STEP_MS });
  await steps(server, EVERY_STEP, 5);
  const figures: Figure[] = [];
  for (const [what, preview, most] of [
    ["linear, every step", LINEAR, 1.02],
    ["tae, at most 10 a second", CAPPED, 1.02],
    ["tae, every step", EVERY_STEP, 1.05],
  ] as const) {
    const pairs = await interleave(
      settings.repeats,
      async () => cycleSeconds(await steps(server, preview, STEPS)),
      async () => cycleSeconds(await steps(server, OFF, STEPS)),
    );
    figures.push(
      figure(
        {
          id: "P2",
          what: `previews: ${what}`,
          unit: "×",
          gate: { most },
          note: `previews off, steps of ${STEP_MS} ms, 1024 px`,
        },
        ratios(pairs),
      ),
    );
  }
  return figures;
}

export async function stalls(settings: Settings): Promise<Figure[]> {
  await using server = await startStubServer(settings, { stepMs: STALL_STEP_MS });
  await steps(server, EVERY_STEP, 5);
  const busy: number[] = [];
  const idle: number[] = [];
  const runs = await interleave(
    2 * settings.repeats,
    async () => gapsMs(await steps(server, EVERY_STEP, 50)),
    async () => gapsMs(await steps(server, OFF, 50)),
  );
  for (const { a, b } of runs) {
    busy.push(...a);
    idle.push(...b);
  }
  const p99 = { busy: quantile(busy, 0.99), idle: quantile(idle, 0.99) };
  const worst = { busy: Math.max(...busy), idle: Math.max(...idle) };
  return [
    {
      id: "P3",
      what: "gap between steps, encoder busy, p99",
      value: p99.busy / p99.idle,
      p95: p95(busy) / p95(idle),
      unit: "×",
      gate: { most: 1.5 },
      note: `encoder idle: p99 ${p99.idle.toFixed(2)} ms; ${busy.length} gaps each`,
    },
    {
      id: "P3",
      what: "longest gap, encoder busy",
      value: worst.busy,
      p95: p95(busy),
      unit: "ms",
      gate: { most: 5 },
      note: `encoder idle: ${worst.idle.toFixed(2)} ms (the machine's own scheduling)`,
    },
  ];
}

async function steps(server: StubServer, preview: object | false, count: number): Promise<TracedStep[]> {
  server.takeTrace();
  const { isComplete } = await stream(server.url, { prompt: "a", num_inference_steps: count, preview });
  if (!isComplete) throw new Error("a request did not succeed");
  return server.takeTrace();
}

/** From the beginning of a step to that of the next: its own time and all that keeps the next from starting. */
function cycleSeconds(trace: readonly TracedStep[]): number {
  const first = trace[0];
  const last = trace.at(-1);
  return first === undefined || last === undefined ? Number.NaN : (last.began - first.began) / (trace.length - 1);
}

function gapsMs(trace: readonly TracedStep[]): number[] {
  return trace.slice(1).map(({ began }, index) => (began - (trace[index]?.ended ?? Number.NaN)) * 1_000);
}
