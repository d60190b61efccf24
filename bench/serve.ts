/** The server under test in a process of its own, with the worker that the environment names. Parent of it: a benchmark. */
import { fileURLToPath } from "node:url";
import pino from "pino";
import { loadConfig } from "../src/config.ts";
import { plainRanking } from "./lib/plain-ranking.ts";
import { runServer } from "../src/runtime.ts";

const READY_PATIENCE_MS = 100_000;

const python = process.env["LATENTCAST_BENCH_PYTHON"] ?? "python3";
const config = loadConfig({ env: process.env });
const server = await runServer({
  config,
  log: pino({ level: process.env["LATENTCAST_LOG_LEVEL"] ?? "silent" }),
  python,
  ...(process.env["LATENTCAST_BENCH_RULE"] === "plain" ? { pullRule: plainRanking } : {}),
  ...(process.env["LATENTCAST_BENCH_STUB"] === "1"
    ? { workerProgram: [fileURLToPath(new URL("stub_worker.py", import.meta.url))] }
    : {}),
});
// A gateway waits for its nodes.
if (config.role !== "gateway") await server.jobs.modelLoaded(AbortSignal.timeout(READY_PATIENCE_MS));

process.on("message", () => {
  const { user, system } = process.cpuUsage();
  process.send?.({
    rssBytes: process.memoryUsage.rss(),
    cpuMs: (user + system) / 1_000,
    inFlight: server.jobs.snapshot().workers[0]?.jobs ?? 0,
  });
});
process.on("disconnect", () => {
  void server.close().then(() => process.exit(0));
});
process.send?.({ url: server.url });
