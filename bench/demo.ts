/** A picture of the embedded model as a newcomer meets it: default steps and size, every core of the machine. */
import { figure, type Figure, type Settings } from "./lib/figures.ts";
import { startModelServer } from "./lib/servers.ts";
import { stream, type StreamTimes } from "./lib/stream-client.ts";

export async function demo(settings: Settings): Promise<Figure[]> {
  await using server = await startModelServer(settings, "demo", { everyCore: true });
  const ask = (seed: number): Promise<StreamTimes> => stream(server.url, { prompt: "a beautiful sunset", seed });
  await ask(0);
  const times: StreamTimes[] = [];
  for (let repeat = 0; repeat < settings.repeats; repeat += 1) times.push(await ask(repeat));
  const note = "demo model, 256 px, 20 steps, preview every fifth, over /stream";
  return [
    figure(
      { id: "demo", what: "first preview", unit: "s", gate: { most: 0.5 }, note },
      times.map(({ posted, firstPreview = Number.NaN }) => firstPreview - posted),
    ),
    figure(
      { id: "demo", what: "whole picture", unit: "s", gate: { most: 3 }, note },
      times.map(({ posted, ended }) => ended - posted),
    ),
  ];
}
