/**
 * `tsx bench/soak.ts [--requests 10000] [--model noise|stub]`: pictures one after the other, and what memory orchestrator and worker
 * hold meanwhile. `stub` is the whole worker around a simulated device. Prints both curves; ends with 1 when either still grows in
 * the second half of the run.
 */
import { parseArgs } from "node:util";
import { median } from "./lib/figures.ts";
import { startModelServer, startStubServer } from "./lib/servers.ts";

const { values } = parseArgs({
  options: { requests: { type: "string", default: "10000" }, model: { type: "string", default: "noise" } },
});
const requests = Number(values.requests);
const SAMPLES = 40;
/** Growth of the second half's median over that of the quarter before it. Allocators breathe by a few per cent; a leak does not stop. */
const MOST_GROWTH = 0.05;
const MIB = 2 ** 20;

interface Sample {
  readonly after: number;
  readonly orchestratorMib: number;
  readonly workerMib: number;
}

const python = process.env["LATENTCAST_PYTHON"] ?? ".venv/bin/python";
const settings = { repeats: 1, quick: false, python };
const server =
  values.model === "stub"
    ? await startStubServer(settings, { stepMs: 1 })
    : await startModelServer(settings, values.model);
const samples: Sample[] = [];
const every = Math.max(1, Math.floor(requests / SAMPLES));
for (let done = 1; done <= requests; done += 1) {
  // Every kind of answer takes part: results, streams that are read to their end, streams that are left, and refusals.
  await [picture, stream, leave, refusal][done % 4]?.(server.url, done);
  if (done % every === 0) samples.push(await sample(server.url, done));
}
await server[Symbol.asyncDispose]();

const curves = [
  ["orchestrator", samples.map(({ orchestratorMib }) => orchestratorMib)],
  ["worker", samples.map(({ workerMib }) => workerMib)],
] as const;
for (const [name, curve] of curves) {
  const shown = curve.map((value) => value.toFixed(0)).join(" ");
  console.log(`${name.padEnd(12)} ${sparkline(curve)}  MiB after every ${every} requests: ${shown}`);
  const growth = median(curve.slice(curve.length / 2)) / median(curve.slice(curve.length / 4, curve.length / 2)) - 1;
  console.log(`${"".padEnd(12)} second half against the quarter before: ${(growth * 100).toFixed(1)} %`);
  if (growth > MOST_GROWTH) process.exitCode = 1;
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

async function sample(url: string, after: number): Promise<Sample> {
  const exposed = await (await fetch(`${url}/metrics`)).text();
  const mib = (name: string): number =>
    Number(new RegExp(`^${name} (\\S+)$`, "m").exec(exposed)?.[1] ?? Number.NaN) / MIB;
  return {
    after,
    orchestratorMib: mib("process_resident_memory_bytes"),
    workerMib: mib('latentcast_worker_resident_bytes\\{slot="0"\\}'),
  };
}

function sparkline(curve: readonly number[]): string {
  const [low, high] = [Math.min(...curve), Math.max(...curve)];
  return curve.map((value) => "▁▂▃▄▅▆▇█"[Math.round(((value - low) / Math.max(1, high - low)) * 7)]).join("");
}
