/** Servers that can be killed like a process: with SIGKILL, in the middle of anything. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { inject } from "vitest";
import { fixtureWorker, testPython } from "./server.ts";

export interface ServerProcess extends AsyncDisposable {
  readonly url: string;
  /** Everything that it wrote to stderr. */
  readonly log: string[];
  kill(): Promise<void>;
  /** Lets it finish what it has accepted, and end. */
  drain(): Promise<void>;
  /** SIGSTOP and the like. */
  signal(signal: NodeJS.Signals): void;
}

export interface ServerProcessOptions {
  readonly dataDir: string;
  readonly worker?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Most files and sockets that the process may have open. */
  readonly descriptors?: number;
}

/** Resolves when it listens; rejects with what it said when it ends before. */
export async function startServerProcess({
  dataDir,
  worker = "fixture_worker",
  env = {},
  descriptors,
}: ServerProcessOptions): Promise<ServerProcess> {
  const program = [join(inject("builtPrograms"), "serve.js"), testPython(), ...fixtureWorker(worker)];
  const limit = descriptors === undefined ? "" : `ulimit -n ${descriptors};`;
  const command = [`${limit} exec "$@"`, "sh", process.execPath, ...program];
  const child = spawn("sh", ["-c", ...command], {
    env: {
      ...process.env,
      LATENTCAST_PORT: "0",
      LATENTCAST_DEVICES: "cpu",
      // Tests of other things must not be refused because the machine is crowded.
      LATENTCAST_MAX_EVENT_LOOP_DELAY_SECONDS: "60",
      LATENTCAST_MODEL: "noise",
      LATENTCAST_DATA_DIR: dataDir,
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exited = once(child, "exit");
  const log: string[] = [];
  createInterface(child.stderr).on("line", (line) => log.push(line));
  const lines = createInterface(child.stdout);
  const url = await Promise.race([once(lines, "line").then(([line]) => String(line)), exited.then(() => undefined)]);
  if (url === undefined) throw new Error(log.join("\n"));
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal);
    await exited;
  };
  const kill = (): Promise<void> => end("SIGKILL");
  const drain = (): Promise<void> => end("SIGTERM");
  return { url, log, kill, drain, signal: (signal) => void child.kill(signal), [Symbol.asyncDispose]: kill };
}
