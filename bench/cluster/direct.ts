/** What a fleet costs one direct request (C1, C2), and how soon it goes on when its node dies (C9). */
import { setTimeout as pause } from "node:timers/promises";
import { figure, interleave, median, ratios, type Figure, type Settings } from "../lib/figures.ts";
import { startFleet, type NatsServers } from "../lib/fleet.ts";
import { monotonicSeconds, startStubServer } from "../lib/servers.ts";
import { BODY, draw, firstPreview, STEP_MS, STEPS } from "./jobs.ts";

/** Far beyond the gate; a stream that is silent for so long is broken. */
const PREVIEW_PATIENCE_MS = 60_000;

/** C1, C2: one request at a time, over a gateway and a node, beside one process. */
export async function besideOneProcess(servers: NatsServers, settings: Settings): Promise<Figure[]> {
  await using fleet = await startFleet(servers, settings);
  await fleet.addNodes([STEP_MS]);
  await using single = await startStubServer(settings, { stepMs: STEP_MS });
  await Promise.all([draw(fleet.gateway), draw(single)]);
  const pairs = await interleave(
    settings.repeats * 2,
    () => draw(fleet.gateway),
    () => draw(single),
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

/** C9: from the end of a node to the next preview of its job, on the same connection. */
export async function death(servers: NatsServers, settings: Settings): Promise<Figure[]> {
  const waits: number[] = [];
  const rounds = settings.quick ? 1 : 3;
  for (let round = 0; round < rounds; round += 1) {
    await using fleet = await startFleet(servers, settings);
    const [victim] = await fleet.addNodes([STEP_MS]);
    const long = { ...BODY, num_inference_steps: 50 };
    const seen = previewTimes(fleet.gateway.url, long);
    while (seen.times.length < 3) await pause(5);
    const rescuer = fleet.addNodes([STEP_MS]);
    await pause(STEP_MS);
    const killed = monotonicSeconds();
    victim?.kill();
    await seen.ended;
    await rescuer.catch(() => undefined);
    waits.push((seen.times.find((at) => at > killed + 1) ?? Number.NaN) - killed);
  }
  const note = "killed in the middle of an image; 6 s of silence are what makes a node dead";
  return [figure({ id: "C9", what: "node killed, next preview", unit: "s", gate: { most: 8 }, note }, waits)];
}

/** When each preview of a stream came. */
function previewTimes(url: string, body: object): { readonly times: number[]; readonly ended: Promise<void> } {
  const times: number[] = [];
  const read = async (): Promise<void> => {
    const headers = { "content-type": "application/json" };
    const signal = AbortSignal.timeout(PREVIEW_PATIENCE_MS);
    const response = await fetch(`${url}/stream`, { method: "POST", headers, body: JSON.stringify(body), signal });
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? [])
      if (decoder.decode(chunk).includes('"preview":')) times.push(monotonicSeconds());
  };
  return { times, ended: read() };
}
