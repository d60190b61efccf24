/** Real servers with real worker processes for tests. Each is closed by the test that opened it. */
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import pino from "pino";
import { z } from "zod";
import { loadConfig } from "../../src/config.ts";
import { runServer, type RunningServer } from "../../src/runtime.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The interpreter that has the worker's packages: the one named, else the managed one. */
export function testPython(): string {
  const named = process.env["LATENTCAST_PYTHON"];
  const python = named ?? join(root, ".venv", "bin", "python");
  if (!existsSync(python)) throw new Error(`${python} is missing: run \`npx latentcast setup --dev\` first`);
  return python;
}

export function fixtureWorker(name: string): string[] {
  return [fileURLToPath(new URL(`../fixtures/workers/${name}.py`, import.meta.url))];
}

/** Why workers ended, in order, by the log of their server. */
export function slotFailures(logs: readonly string[]): string[] {
  const line = z.object({ exit: z.object({}), code: z.string() });
  return logs.flatMap((text) => {
    const parsed = line.safeParse(JSON.parse(text));
    return parsed.success ? [parsed.data.code] : [];
  });
}

export interface TestServerOptions {
  /** File name of a fixture worker without `.py`; the real worker when absent. */
  readonly worker?: string;
  /** Settings of the server, and variables that its workers see. */
  readonly env?: Readonly<Record<string, string>>;
  readonly logs?: string[];
}

export interface TestServer extends RunningServer, AsyncDisposable {
  /** Resolves when `GET /ready` is 200. */
  ready(): Promise<void>;
  /** How many devices draw, jobs that they hold, and jobs that they were told to stop. */
  devices(): { readonly count: number; readonly held: number; readonly cancelled: number };
}

/** In the Vitest project `fleet` it is a gateway with two nodes behind it. */
export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  if (process.env["LATENTCAST_TEST_FLEET"] !== undefined) {
    const { startTestFleet } = await import("./test-fleet.ts");
    return startTestFleet(options);
  }
  const directory = await mkdtemp(join(tmpdir(), "latentcast-test-"));
  const server = await runTestServer(directory, options);
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> =>
    (closed ??= server.close().then(() => rm(directory, { recursive: true, force: true })));
  return {
    ...server,
    close,
    devices: () => devicesOf([server]),
    ready: async () => {
      await server.jobs.modelLoaded(AbortSignal.timeout(60_000));
    },
    [Symbol.asyncDispose]: close,
  };
}

/** One process's part, with its data in that folder. */
export function runTestServer(directory: string, options: TestServerOptions): Promise<RunningServer> {
  const { worker, env = {}, logs } = options;
  const config = loadConfig({
    env: {
      LATENTCAST_PORT: "0",
      LATENTCAST_DATA_DIR: join(directory, "data"),
      LATENTCAST_CACHE_DIR: join(directory, "cache"),
      LATENTCAST_MODEL: "noise",
      LATENTCAST_DEVICES: "cpu",
      // Tests of other things must not be refused because the machine is crowded.
      LATENTCAST_MAX_EVENT_LOOP_DELAY_SECONDS: "60",
      ...env,
    },
  });
  const log =
    logs === undefined
      ? pino({ level: "silent" })
      : pino({ level: "debug" }, { write: (line) => void logs.push(line) });
  return runServer({
    config,
    env: { ...process.env, ...env },
    log,
    python: testPython(),
    ...(worker === undefined ? {} : { workerProgram: fixtureWorker(worker) }),
  });
}

export function devicesOf(servers: readonly RunningServer[]): ReturnType<TestServer["devices"]> {
  const snapshots = servers.map(({ jobs }) => jobs.snapshot());
  const workers = snapshots.flatMap((snapshot) => snapshot.workers);
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  return {
    count: workers.length,
    held: sum(workers.map(({ jobs }) => jobs)),
    cancelled: sum(snapshots.map(({ counters }) => counters.cancelled)),
  };
}
