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
}

export async function startTestServer({ worker, env = {}, logs }: TestServerOptions = {}): Promise<TestServer> {
  const directory = await mkdtemp(join(tmpdir(), "latentcast-test-"));
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
  const server = await runServer({
    config,
    env: { ...process.env, ...env },
    log,
    python: testPython(),
    ...(worker === undefined ? {} : { workerProgram: fixtureWorker(worker) }),
  });
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> =>
    (closed ??= server.close().then(() => rm(directory, { recursive: true, force: true })));
  return {
    ...server,
    close,
    ready: async () => {
      await server.jobs.modelLoaded(AbortSignal.timeout(60_000));
    },
    [Symbol.asyncDispose]: close,
  };
}
