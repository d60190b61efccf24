/** Whether several pictures at once get more out of the device than one after the other (P5), with both small models. */
import { figure, interleave, type Figure, type Settings } from "./lib/figures.ts";
import { startModelServer } from "./lib/servers.ts";
import { stream } from "./lib/stream-client.ts";

const PICTURES = 4;
const STEPS = 20;

export async function batching(settings: Settings): Promise<Figure[]> {
  return [await throughput(settings, "noise"), await throughput(settings, "demo")];
}

async function throughput(settings: Settings, model: "noise" | "demo"): Promise<Figure> {
  await using server = await startModelServer(settings, model, { everyCore: true });
  const one = async (seed: number): Promise<void> => {
    const body = { prompt: "a", num_inference_steps: STEPS, seed, preview: false };
    const { isComplete } = await stream(server.url, body);
    if (!isComplete) throw new Error("a request did not succeed");
  };
  await one(0);
  const seeds = Array.from({ length: PICTURES }, (_, index) => index);
  const pairs = await interleave(
    settings.repeats,
    () => timed(async () => void (await Promise.all(seeds.map(one)))),
    () =>
      timed(async () => {
        for (const seed of seeds) await one(seed);
      }),
  );
  return figure(
    {
      id: "P5",
      what: `throughput, ${PICTURES} at once, ${model}`,
      unit: "×",
      ...(model === "noise" ? { gate: { least: 1.3 } } : {}),
      note: "one after the other; every core, calibrated batch",
    },
    pairs.map(({ a, b }) => b / a),
  );
}

async function timed(work: () => Promise<void>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}
