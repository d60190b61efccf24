/** When the first preview comes (P4): on an idle server beside the work it takes, on a loaded one beside plain first come, first served. */
import { setTimeout as pause } from "node:timers/promises";
import { figure, interleave, median, type Figure, type Settings } from "./lib/figures.ts";
import { startBareLoop, startProgram } from "./lib/processes.ts";
import { startStubServer, type StubServer } from "./lib/servers.ts";
import { stream } from "./lib/stream-client.ts";

const STEP_MS = 30;
const LOADED_STEPS = 30;
const LOADS = [1, 4, 8] as const;
const PREVIEW = { every: 1, max_per_second: 10, decoder: "tae" };

export async function firstPreview(settings: Settings): Promise<Figure[]> {
  const figures: Figure[] = [];
  {
    await using server = await startStubServer(settings, { stepMs: STEP_MS });
    await using bare = await startBareLoop(settings.python);
    const body = { prompt: "a", num_inference_steps: 8, preview: PREVIEW };
    await using plain = await startProgram("bare-server.ts", {});
    const seen = async (url: string, asked: object): Promise<number> => {
      const { posted, firstPreview: first = Number.NaN } = await stream(url, asked);
      return first - posted;
    };
    const { firstPreviewBytes: bytes = 0 } = await stream(server.url, body);
    await seen(plain.url, { bytes });
    const runs = await interleave(
      settings.repeats,
      () => seen(server.url, body),
      async () => ({ device: await bare.run("first"), client: await seen(plain.url, { bytes }) }),
    );
    const what = "first preview, idle";
    const work = "prompts (5 ms) and one step (30 ms), bare";
    const clientMs = median(runs.map(({ b }) => b.client * 1_000));
    figures.push(
      figure(
        {
          ...{ id: "P4", what, unit: "×", gate: { most: 1.25 } },
          note: `${work}, and ${clientMs.toFixed(1)} ms until a bare server's event of that size is read`,
        },
        runs.map(({ a, b }) => a / (b.device + b.client)),
      ),
      figure(
        { id: "P4", what: `${what}, beside the device alone`, unit: "×", note: work },
        runs.map(({ a, b }) => a / b.device),
      ),
    );
  }
  await using ours = await startStubServer(settings, { stepMs: STEP_MS });
  await using fifo = await startStubServer(settings, { stepMs: STEP_MS, policy: "fifo" });
  for (const load of LOADS) {
    const pairs = await interleave(
      settings.repeats,
      () => loaded(ours, load),
      () => loaded(fifo, load),
    );
    const waits = pairs.map(({ b }) => b.firstPreviewSteps);
    figures.push(
      figure(
        {
          id: "P4",
          what: `first preview, ${load} queued`,
          unit: "steps",
          gate: { most: 3 },
          note: `first come, first served: ${Math.min(...waits).toFixed(0)} to ${Math.max(...waits).toFixed(0)} steps`,
        },
        pairs.map(({ a }) => a.firstPreviewSteps),
      ),
      figure(
        {
          id: "P4",
          what: `mean completion, ${load} queued`,
          unit: "×",
          gate: { most: 1.08 },
          note: `first come, first served, the same arrivals of ${LOADED_STEPS}-step pictures`,
        },
        pairs.map(({ a, b }) => a.meanCompletion / b.meanCompletion),
      ),
    );
  }
  return figures;
}

interface Loaded {
  /** Of the last to arrive. */
  readonly firstPreviewSteps: number;
  /** Seconds, over all. */
  readonly meanCompletion: number;
}

/** `load` pictures at once, and one more when all of them have begun. */
async function loaded(server: StubServer, load: number): Promise<Loaded> {
  const body = { prompt: "a", num_inference_steps: LOADED_STEPS, preview: PREVIEW };
  const earlier = Array.from({ length: load }, () => stream(server.url, body));
  await pause((2 * load + 3) * STEP_MS);
  const last = await stream(server.url, body);
  const all = [...(await Promise.all(earlier)), last];
  return {
    firstPreviewSteps: ((last.firstPreview ?? Number.NaN) - last.posted) / (STEP_MS / 1_000),
    meanCompletion: all.reduce((sum, { posted, ended }) => sum + ended - posted, 0) / all.length,
  };
}
