/** How soon a started server answers, and what it weighs when it has nothing to do. Run as users run it: compiled. */
import { spawn, spawnSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { figure, type Figure, type Settings } from "./lib/figures.ts";
import { keep, pinned, root, scratchFolder } from "./lib/processes.ts";

const PATIENCE_MS = 60_000;

export async function start({ python, repeats }: Settings): Promise<Figure[]> {
  const build = spawnSync(process.execPath, [join(root, "scripts", "build.mjs")], { cwd: root, encoding: "utf8" });
  if (build.status !== 0) throw new Error(`the build failed: ${build.stderr.trim().split("\n").at(-1) ?? ""}`);
  const answered: number[] = [];
  const weights: number[] = [];
  for (let repeat = 0; repeat < repeats; repeat += 1) {
    const { healthSeconds, idleMb } = await once(python);
    answered.push(healthSeconds);
    weights.push(idleMb);
  }
  return [
    figure({ id: "start", what: "process start to /health", unit: "s", gate: { most: 1 }, note: "compiled, after set-up; the worker loads beside it" }, answered),
    figure({ id: "start", what: "orchestrator memory, idle", unit: "MB", gate: { most: 150 }, note: "resident, model loaded, after one picture" }, weights),
  ];
}

async function once(python: string): Promise<{ healthSeconds: number; idleMb: number }> {
  const folder = scratchFolder();
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const began = performance.now();
  const child = keep(
    spawn(process.execPath, [join(root, "dist", "main.js"), "serve", "--port", String(port), "--model", "noise", "--devices", "cpu"], {
      env: pinned({
        LATENTCAST_PYTHON: python,
        LATENTCAST_DATA_DIR: join(folder, "data"),
        LATENTCAST_CACHE_DIR: join(folder, "cache"),
        LATENTCAST_LOG_LEVEL: "silent",
      }),
      stdio: ["ignore", "ignore", "inherit"],
    }),
  );
  try {
    await until(async () => (await fetch(`${url}/health`)).ok);
    const healthSeconds = (performance.now() - began) / 1_000;
    await until(async () => (await fetch(`${url}/ready`)).ok);
    const body = JSON.stringify({ prompt: "a", num_inference_steps: 1 });
    await (await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body })).arrayBuffer();
    await pause(500);
    const status = await readFile(`/proc/${child.pid ?? 0}/status`, "utf8");
    return { healthSeconds, idleMb: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? Number.NaN) / 1_024 };
  } finally {
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
    if (child.exitCode === null) await new Promise((resolve) => child.once("exit", resolve));
    clearTimeout(timer);
  }
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  const endsAt = performance.now() + PATIENCE_MS;
  while (!(await holds().catch(() => false))) {
    if (performance.now() > endsAt) throw new Error("the server did not come up");
    await pause(5);
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}
