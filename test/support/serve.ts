/** A server in a process of its own, to be killed: `tsx serve.ts <fixture worker>`, settings from the environment. Prints its address. */
import pino from "pino";
import { loadConfig } from "../../src/config.ts";
import { runServer } from "../../src/runtime.ts";
import { fixtureWorker, testPython } from "./server.ts";

const server = await runServer({
  config: loadConfig({ env: process.env }),
  log: pino({ level: "warn" }, pino.destination(2)),
  python: testPython(),
  workerProgram: fixtureWorker(process.argv[2] ?? "fixture_worker"),
});
process.once("SIGTERM", () => void server.drain().then(() => process.exit(0)));
process.stdout.write(`${server.url}\n`);
