/** A picture beside a program that keeps one core busy, with the waiting of OpenMP's threads as shipped and as OpenMP has it. */
import { spawn } from "node:child_process";
import { figure, type Figure, type Settings } from "./lib/figures.ts";
import { keep, type BenchServer } from "./lib/processes.ts";
import { startModelServer } from "./lib/servers.ts";
import { stream } from "./lib/stream-client.ts";

const STEPS = 10;
/** What libgomp takes when it is told nothing. */
const OPENMP_DEFAULT = { GOMP_SPINCOUNT: "300000" };
/** How long the scheduler may take to find a place for the neighbour. */
const SETTLING_MS = 200;

interface Round {
  readonly quiet: number;
  readonly busy: number;
  readonly quietDefault: number;
  readonly busyDefault: number;
}

export async function neighbour(settings: Settings): Promise<Figure[]> {
  await using shipped = await startModelServer(settings, "demo", { everyCore: true });
  await using plain = await startModelServer(settings, "demo", { everyCore: true, env: OPENMP_DEFAULT });
  for (const server of [shipped, plain]) await seconds(server);
  const rounds: Round[] = [];
  for (let repeat = 0; repeat < settings.repeats; repeat += 1) {
    const [quiet, quietDefault] = await both(shipped, plain, repeat);
    const stop = await startNeighbour();
    const [busy, busyDefault] = await both(shipped, plain, repeat).finally(stop);
    rounds.push({ quiet, busy, quietDefault, busyDefault });
  }
  const note = `demo model, 256 px, ${STEPS} steps, every core`;
  return [
    figure(
      { id: "share", what: "beside one busy process ÷ quiet", unit: "×", gate: { most: 2.2 }, note },
      rounds.map(({ quiet, busy }) => busy / quiet),
    ),
    figure(
      { id: "share", what: "the same with OpenMP's default", unit: "×", note: "GOMP_SPINCOUNT=300000" },
      rounds.map(({ quietDefault, busyDefault }) => busyDefault / quietDefault),
    ),
    figure(
      { id: "share", what: "quiet ÷ quiet with OpenMP's default", unit: "×", gate: { most: 1.05 }, note },
      rounds.map(({ quiet, quietDefault }) => quiet / quietDefault),
    ),
  ];
}

/** Takes turns in going first. */
async function both(a: BenchServer, b: BenchServer, repeat: number): Promise<[number, number]> {
  if (repeat % 2 === 0) return [await seconds(a), await seconds(b)];
  const second = await seconds(b);
  return [await seconds(a), second];
}

async function seconds(server: BenchServer): Promise<number> {
  const body = { prompt: "a beautiful sunset", num_inference_steps: STEPS, preview: false };
  const { posted, ended } = await stream(server.url, body);
  return ended - posted;
}

/** A single-threaded program that never waits, such as a busy browser tab. Gives what ends it. */
async function startNeighbour(): Promise<() => void> {
  const child = keep(spawn(process.execPath, ["-e", "for (;;);"], { stdio: "ignore" }));
  await new Promise((resolve) => setTimeout(resolve, SETTLING_MS));
  return () => void child.kill("SIGKILL");
}
