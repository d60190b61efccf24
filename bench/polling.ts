/** Whether many clients that ask for the state of queued requests slow down the events of a running one. */
import { setTimeout as pause } from "node:timers/promises";
import { figure, interleave, median, p95, type Figure, type Settings } from "./lib/figures.ts";
import { startStubServer, type StubServer } from "./lib/servers.ts";

const REQUESTS = 200;
const POLL_EVERY_MS = 100;
const STEP_MS = 30;
const RUN_MS = 3_000;

interface Handle {
  readonly status_url: string;
  readonly cancel_url: string;
}

export async function polling(settings: Settings): Promise<Figure[]> {
  await using server = await startStubServer(settings, { stepMs: STEP_MS });
  const handles = await Promise.all(Array.from({ length: REQUESTS }, () => submit(server)));
  let answered = 0;
  const pairs = await interleave(
    settings.repeats,
    async () => {
      const stop = new AbortController();
      const polls = handles.map((handle, index) => poll(handle, index, stop.signal, () => (answered += 1)));
      const delays = await firstPreviewsMs(server);
      stop.abort();
      await Promise.all(polls);
      return delays;
    },
    () => firstPreviewsMs(server),
  );
  await Promise.all(
    handles.map(({ cancel_url: url }) => fetch(url, { method: "PUT" }).then((response) => response.arrayBuffer())),
  );
  const seconds = (settings.repeats * RUN_MS) / 1_000;
  const added = pairs.map(({ a, b }) => median(a) - median(b));
  const late = pairs.map(({ a, b }) => p95(a) - p95(b));
  const note = `${REQUESTS} requests asked for every ${POLL_EVERY_MS} ms (${(answered / seconds).toFixed(0)} answers a second); nobody asking`;
  return [
    figure({ id: "poll", what: "added delay of an event, median", unit: "ms", gate: { most: 1 }, note }, added),
    figure({ id: "poll", what: "added delay of an event, p95", unit: "ms", note }, late),
  ];
}

async function submit(server: StubServer): Promise<Handle> {
  const response = await fetch(`${server.url}/queue/local/sdxl`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ prompt: "a", num_inference_steps: 50, preview: false }),
  });
  if (!response.ok) throw new Error(`the queue answered ${response.status}`);
  return (await response.json()) as Handle;
}

/** Asks from its own place in the interval on, so that the requests do not come in one burst. */
async function poll({ status_url: url }: Handle, index: number, stop: AbortSignal, count: () => void): Promise<void> {
  await pause((index * POLL_EVERY_MS) / REQUESTS);
  while (!stop.aborted) {
    const began = performance.now();
    await (await fetch(url)).arrayBuffer();
    count();
    await pause(Math.max(0, POLL_EVERY_MS - (performance.now() - began)));
  }
}

/**
 * Time from asking for a picture to its first preview, one after the other for {@link RUN_MS}. The queued requests share the device,
 * and the newest picture gets its first steps at once.
 */
async function firstPreviewsMs(server: StubServer): Promise<number[]> {
  const delays: number[] = [];
  const endsAt = performance.now() + RUN_MS;
  while (performance.now() < endsAt) {
    const began = performance.now();
    const gone = new AbortController();
    const response = await fetch(`${server.url}/stream`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ prompt: "a", num_inference_steps: 50, preview: { every: 1, decoder: "linear" } }),
      signal: gone.signal,
    });
    let text = "";
    for await (const chunk of response.body ?? []) {
      text += Buffer.from(chunk).toString("latin1");
      if (text.includes("data: ")) break;
    }
    delays.push(performance.now() - began);
    gone.abort();
  }
  return delays;
}
