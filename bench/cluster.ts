/** What a fleet costs and gains (C1 to C7, C9), on three real NATS servers, with gateways and nodes as processes and sleeping devices. */
import { besideOneProcess, death } from "./cluster/direct.ts";
import { equalNodes, unevenNodes } from "./cluster/load.ts";
import { acceptance, fanOutOfFleet } from "./cluster/queued.ts";
import { missing, type Figure, type Settings } from "./lib/figures.ts";
import { startNatsCluster } from "./lib/fleet.ts";

/** Speeds of four nodes, the fastest at 1. */
const UNEVEN = [
  [1, 1, 1, 1 / 4],
  [1, 1, 1 / 2, 1 / 4],
] as const;

/** A part that would begin later is left out: none takes more than two minutes, and all together take twelve at most. */
const LAST_START_MS = 9.5 * 60_000;

export async function cluster(settings: Settings): Promise<Figure[]> {
  const began = performance.now();
  await using servers = await startNatsCluster();
  const part = async (id: string, measure: () => Promise<Figure[]>): Promise<Figure[]> => {
    if (performance.now() - began > LAST_START_MS) return [missing(id, "left out", "the time is up")];
    const since = performance.now();
    try {
      return await measure();
    } catch (error) {
      return [missing(id, "did not run", error instanceof Error ? error.message : String(error))];
    } finally {
      console.error(`  ${id}: ${((performance.now() - since) / 1_000).toFixed(0)} s`);
    }
  };
  let jobSeconds = Number.NaN;
  const equal = async (): Promise<Figure[]> => {
    const { figures, jobSeconds: measured } = await equalNodes(servers, settings);
    jobSeconds = measured;
    return figures;
  };
  const uneven = (speeds: readonly number[]): Promise<Figure[]> => {
    if (Number.isNaN(jobSeconds)) throw new Error("how long an image takes was not measured");
    return unevenNodes(servers, settings, { speeds, jobSeconds });
  };
  const figures = [...(await part("C1", () => besideOneProcess(servers, settings))), ...(await part("C3", equal))];
  for (const speeds of UNEVEN) figures.push(...(await part("C5", async () => uneven(speeds))));
  figures.push(...(await part("C7", () => fanOutOfFleet(servers, settings))));
  figures.push(...(await part("C9", () => death(servers, settings))));
  // Last: it kills servers.
  figures.push(...(await part("C6", () => acceptance(servers, settings))));
  return figures;
}
