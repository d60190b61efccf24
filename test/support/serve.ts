/** A server in a process of its own, to be killed: `serve <python> <worker program>`, settings from the environment. Prints its address. */
import pino from "pino";
import { loadConfig } from "../../src/config.ts";
import { runServer } from "../../src/runtime.ts";

/** Tests of faults wait for the reconciler, whose usual times are tens of seconds. */
const QUICK = { sweepMs: 1_000, settleMs: { queued: 2_000, running: 2_000, ended: 2_000 } };

/** A wall clock that is wrong, by milliseconds. */
const wrongByMs = Number(process.env["LATENTCAST_TEST_CLOCK_MS"] ?? 0);
if (wrongByMs !== 0) {
  const RightDate = Date;
  globalThis.Date = class extends RightDate {
    constructor(...given: [] | [number]) {
      super(given.length === 0 ? RightDate.now() + wrongByMs : given[0]);
    }

    static override now(): number {
      return RightDate.now() + wrongByMs;
    }
  } as DateConstructor;
}

const [, , python = "", ...workerProgram] = process.argv;
const server = await runServer({
  config: loadConfig({ env: process.env }),
  log: pino({ level: "warn" }, pino.destination(2)),
  python,
  workerProgram,
  fleetPace: process.env["LATENTCAST_TEST_PACE"] === "quick" ? QUICK : undefined,
});
process.once("SIGTERM", () => void server.drain().then(() => process.exit(0)));
process.stdout.write(`${server.url}\n`);
