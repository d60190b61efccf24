/** Whether many clients that ask for the state of queued requests slow down the events of the running one. */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { get } from "node:http";
import { join } from "node:path";
import { figure, interleave, median, p95, type Figure, type Settings } from "./lib/figures.ts";
import { keep, root } from "./lib/processes.ts";
import { monotonicSeconds, startStubServer, type StubServer, type TracedStep } from "./lib/servers.ts";
import type { PollOrder } from "./poller.ts";

const REQUESTS = 200;
const POLL_EVERY_MS = 100;
const STEP_MS = 30;
const STEPS = 50;

interface Handle {
  readonly status_url: string;
  readonly cancel_url: string;
  readonly events_url: string;
}

interface Watch {
  /** From the end of a step on the device to its event at the client. */
  readonly delaysMs: readonly number[];
  readonly repliesPerSecond: number;
}

export async function polling(settings: Settings): Promise<Figure[]> {
  await using server = await startStubServer(settings, { stepMs: STEP_MS });
  const poller = keep(fork(join(root, "bench", "poller.ts"), { execArgv: ["--import", "tsx"] }));
  await once(poller, "message");
  const pairs = await interleave(
    settings.repeats,
    () => watchOne(server, poller),
    () => watchOne(server, undefined),
  );
  poller.disconnect();
  const rate = median(pairs.map(({ a }) => a.repliesPerSecond)).toFixed(0);
  const note = `${REQUESTS} requests asked for every ${POLL_EVERY_MS} ms (${rate} answers a second); nobody asking`;
  const added = (of: (values: readonly number[]) => number): number[] =>
    pairs.map(({ a, b }) => of(a.delaysMs) - of(b.delaysMs));
  return [
    figure({ id: "poll", what: "added delay of an event, median", unit: "ms", gate: { most: 1 }, note }, added(median)),
    figure({ id: "poll", what: "added delay of an event, p95", unit: "ms", note }, added(p95)),
  ];
}

/** Follows the oldest of {@link REQUESTS} requests to its end, then cancels the rest. */
async function watchOne(server: StubServer, poller: ChildProcess | undefined): Promise<Watch> {
  const oldest = await submit(server);
  const others = await Promise.all(Array.from({ length: REQUESTS - 1 }, () => submit(server)));
  const handles = [oldest, ...others];
  poller?.send({ urls: handles.map(({ status_url: url }) => url), everyMs: POLL_EVERY_MS } satisfies PollOrder);
  const began = monotonicSeconds();
  server.takeTrace();
  const arrivals = await progressArrivals(oldest.events_url);
  const steps = server.takeTrace();
  const replies = poller === undefined ? 0 : await repliesOf(poller);
  const seconds = monotonicSeconds() - began;
  await Promise.all(
    others.map(({ cancel_url: url }) => fetch(url, { method: "PUT" }).then((response) => response.arrayBuffer())),
  );
  return { delaysMs: arrivals.map((at) => sinceStep(at, steps) * 1_000), repliesPerSecond: replies / seconds };
}

async function submit(server: StubServer): Promise<Handle> {
  const response = await fetch(`${server.url}/queue/local/sdxl`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ prompt: "a", num_inference_steps: STEPS, preview: false }),
  });
  if (!response.ok) throw new Error(`the queue answered ${response.status}`);
  const { request_id: id, ...urls } = (await response.json()) as Omit<Handle, "events_url"> & { request_id: string };
  return { ...urls, events_url: `${server.url}/requests/${id}/events` };
}

async function repliesOf(poller: ChildProcess): Promise<number> {
  poller.send("end");
  const [replies] = (await once(poller, "message")) as [number];
  return replies;
}

/** When each progress event came, in seconds of the monotonic clock. */
function progressArrivals(url: string): Promise<number[]> {
  const arrivals: number[] = [];
  return new Promise((resolve, reject) => {
    get(url, { headers: { accept: "text/event-stream" } }, (response) => {
      response.setEncoding("latin1");
      response.on("data", (chunk: string) => {
        const now = monotonicSeconds();
        for (const _event of chunk.matchAll(/^event: progress$/gmu)) arrivals.push(now);
      });
      response.once("end", () => resolve(arrivals));
      response.once("error", reject);
    }).once("error", reject);
  });
}

function sinceStep(at: number, steps: readonly TracedStep[]): number {
  const last = steps.findLast(({ ended }) => ended <= at);
  return last === undefined ? Number.NaN : at - last.ended;
}
