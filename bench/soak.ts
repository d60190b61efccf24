/**
 * `tsx bench/soak.ts [--requests 10000] [--model noise|stub] [--fleet]`: pictures one after the other, and what memory orchestrator and
 * worker hold meanwhile. `stub` is the whole worker around a simulated device. With `--fleet` eight requests at a time go through a gateway
 * to two nodes with such devices, queued ones too. Prints the curves; ends with 1 when one still grows in the second half of the run.
 */
import { parseArgs } from "node:util";
import { median } from "./lib/figures.ts";
import { startFleet, startNatsCluster } from "./lib/fleet.ts";
import { startModelServer, startStubServer } from "./lib/servers.ts";

const { values } = parseArgs({
  options: {
    requests: { type: "string", default: "10000" },
    model: { type: "string", default: "noise" },
    fleet: { type: "boolean", default: false },
  },
});
const requests = Number(values.requests);
const SAMPLES = 40;
/** Growth of the second half's median over that of the quarter before it. Allocators breathe by a few per cent; a leak does not stop. */
const MOST_GROWTH = 0.05;
const MIB = 2 ** 20;

interface Sample {
  readonly orchestratorMib: number;
  readonly workerMib: number;
}

interface Subject extends AsyncDisposable {
  /** Takes the requests. */
  readonly url: string;
  readonly kinds: readonly ((url: string, seed: number) => Promise<void>)[];
  readonly atOnce: number;
  /** Reads what is held now, by the names of the curves. */
  readonly held: () => Promise<Readonly<Record<string, number>>>;
}

const python = process.env["LATENTCAST_PYTHON"] ?? ".venv/bin/python";
const settings = { repeats: 1, quick: false, python };
const curves = new Map<string, number[]>();
const every = Math.max(1, Math.floor(requests / SAMPLES));
{
  await using subject = await (values.fleet ? openFleet() : openServer());
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < requests) {
      next += 1;
      const seed = next;
      // Every kind of answer takes part.
      await subject.kinds[seed % subject.kinds.length]?.(subject.url, seed);
      if (seed % every !== 0) continue;
      for (const [name, mib] of Object.entries(await subject.held()))
        curves.set(name, [...(curves.get(name) ?? []), mib]);
    }
  };
  await Promise.all(Array.from({ length: subject.atOnce }, lane));
}

for (const [name, curve] of curves) {
  const shown = curve.map((value) => value.toFixed(0)).join(" ");
  console.log(`${name.padEnd(12)} ${sparkline(curve)}  MiB after every ${every} requests: ${shown}`);
  const growth = median(curve.slice(curve.length / 2)) / median(curve.slice(curve.length / 4, curve.length / 2)) - 1;
  console.log(`${"".padEnd(12)} second half against the quarter before: ${(growth * 100).toFixed(1)} %`);
  if (growth > MOST_GROWTH) process.exitCode = 1;
}

async function openServer(): Promise<Subject> {
  const server =
    values.model === "stub"
      ? await startStubServer(settings, { stepMs: 1 })
      : await startModelServer(settings, values.model);
  return {
    url: server.url,
    kinds: [picture, stream, leave, refusal],
    atOnce: 1,
    held: async () => {
      const { orchestratorMib, workerMib } = await sample(server.url);
      return { orchestrator: orchestratorMib, worker: workerMib };
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function openFleet(): Promise<Subject> {
  const servers = await startNatsCluster();
  const fleet = await startFleet(servers, settings);
  const [node] = await fleet.addNodes([1, 1]);
  if (node === undefined) throw new Error("no node was started");
  return {
    url: fleet.gateway.url,
    kinds: [picture, stream, leave, refusal, queued],
    atOnce: 8,
    held: async () => {
      const [gateway, drawing] = [await sample(fleet.gateway.url), await sample(node.url)];
      return { gateway: gateway.orchestratorMib, node: drawing.orchestratorMib, worker: drawing.workerMib };
    },
    [Symbol.asyncDispose]: async () => {
      await fleet[Symbol.asyncDispose]();
      await servers[Symbol.asyncDispose]();
    },
  };
}

function post(url: string, body: object, signal?: AbortSignal): Promise<Response> {
  return fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    ...(signal === undefined ? {} : { signal }),
  });
}

async function picture(url: string, seed: number): Promise<void> {
  const response = await post(url, { prompt: "soak", seed, num_inference_steps: 1, width: 64, height: 64 });
  if (!response.ok) throw new Error(`POST /: ${response.status} ${await response.text()}`);
  await response.arrayBuffer();
}

async function stream(url: string, seed: number): Promise<void> {
  const input = { prompt: "soak", seed, num_inference_steps: 2, width: 64, height: 64, preview: { every: 1 } };
  const text = await (await post(`${url}/stream`, input)).text();
  if (!text.includes('"prompt"')) throw new Error(`POST /stream ended without a result: ${text.slice(-200)}`);
}

async function leave(url: string, seed: number): Promise<void> {
  const leaving = new AbortController();
  const input = { prompt: "soak", seed, num_inference_steps: 50, width: 64, height: 64 };
  const response = await post(`${url}/stream`, input, leaving.signal);
  await response.body?.getReader().read();
  leaving.abort();
}

async function refusal(url: string): Promise<void> {
  const { status } = await post(url, { prompt: "" });
  if (status !== 422) throw new Error(`an empty prompt was answered ${status}`);
}

/** Followed to its end, which its events end with. */
async function queued(url: string, seed: number): Promise<void> {
  const input = { prompt: "soak", seed, num_inference_steps: 2, width: 64, height: 64 };
  const response = await post(`${url}/queue/local/sdxl`, input);
  if (!response.ok) throw new Error(`POST /queue: ${response.status} ${await response.text()}`);
  const { request_id: id } = (await response.json()) as { request_id: string };
  const events = await (await fetch(`${url}/requests/${id}/events`)).text();
  if (!events.includes("event: result"))
    throw new Error(`a queued request ended without a result: ${events.slice(-200)}`);
}

async function sample(url: string): Promise<Sample> {
  const exposed = await (await fetch(`${url}/metrics`)).text();
  const mib = (name: string): number =>
    Number(new RegExp(`^${name} (\\S+)$`, "m").exec(exposed)?.[1] ?? Number.NaN) / MIB;
  return {
    orchestratorMib: mib("process_resident_memory_bytes"),
    workerMib: mib('latentcast_worker_resident_bytes\\{slot="0"\\}'),
  };
}

function sparkline(curve: readonly number[]): string {
  const [low, high] = [Math.min(...curve), Math.max(...curve)];
  return curve.map((value) => "▁▂▃▄▅▆▇█"[Math.round(((value - low) / Math.max(1, high - low)) * 7)]).join("");
}
