/** How soon a started server answers, and what it weighs when it has nothing to do. Run as users run it: compiled. */
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { figure, median, type Figure, type Settings } from "./lib/figures.ts";
import { buildProject, freePort, keep, pinned, root, scratchFolder } from "./lib/processes.ts";

const PATIENCE_MS = 60_000;
/** Fixed on Linux for every program that reads /proc. */
const CLOCK_TICKS_PER_SECOND = 100;

export async function start({ python, repeats }: Settings): Promise<Figure[]> {
  buildProject();
  const starts: Start[] = [];
  for (let repeat = 0; repeat < repeats; repeat += 1) starts.push(await once(python));
  const cpu = median(starts.map(({ cpuSeconds }) => cpuSeconds));
  const used = median(starts.map(({ usedMb }) => usedMb));
  return [
    figure(
      {
        id: "start",
        what: "process start to /health",
        unit: "s",
        gate: { most: 0.8 },
        note: `compiled, after set-up; processor time ${cpu.toFixed(2)} s`,
      },
      starts.map(({ healthSeconds }) => healthSeconds),
    ),
    figure(
      {
        id: "start",
        what: "orchestrator memory, idle",
        unit: "MB",
        gate: { most: 130 },
        note: `resident, model loaded; after one picture ${used.toFixed(0)} MB`,
      },
      starts.map(({ idleMb }) => idleMb),
    ),
  ];
}

interface Start {
  readonly healthSeconds: number;
  /** Processor time until then: what it would take on a machine with nothing else to do. */
  readonly cpuSeconds: number;
  readonly idleMb: number;
  /** After one picture. */
  readonly usedMb: number;
}

async function once(python: string): Promise<Start> {
  const folder = scratchFolder();
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const began = performance.now();
  const child = keep(
    spawn(
      process.execPath,
      [join(root, "dist", "main.js"), "serve", "--port", String(port), "--model", "noise", "--devices", "cpu"],
      {
        env: pinned({
          LATENTCAST_PYTHON: python,
          LATENTCAST_DATA_DIR: join(folder, "data"),
          LATENTCAST_CACHE_DIR: join(folder, "cache"),
          LATENTCAST_LOG_LEVEL: "silent",
        }),
        stdio: "ignore",
      },
    ),
  );
  try {
    await until(async () => (await fetch(`${url}/health`)).ok);
    const healthSeconds = (performance.now() - began) / 1_000;
    const cpuSeconds = await processorSeconds(child.pid);
    await until(async () => (await fetch(`${url}/ready`)).ok);
    await pause(500);
    const idleMb = await residentMb(child.pid);
    const body = JSON.stringify({ prompt: "a", num_inference_steps: 1 });
    await (await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body })).arrayBuffer();
    return { healthSeconds, cpuSeconds, idleMb, usedMb: await residentMb(child.pid) };
  } finally {
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
    if (child.exitCode === null) await new Promise((resolve) => child.once("exit", resolve));
    clearTimeout(timer);
  }
}

async function residentMb(pid = 0): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? Number.NaN) / 1_024;
}

async function processorSeconds(pid = 0): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  // The name of the program, which may hold anything, ends with the last parenthesis; user and system time are 11 fields on.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_SECOND;
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  const endsAt = performance.now() + PATIENCE_MS;
  while (!(await holds().catch(() => false))) {
    if (performance.now() > endsAt) throw new Error("the server did not come up");
    await pause(5);
  }
}
