/** What happens to the server's own process: signals at every moment, a parent that is gone, a disk without room. */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { COMMAND } from "../support/command-line.ts";
import { eventually, isAlive } from "../support/eventually.ts";
import { writeProgram } from "../support/python-project.ts";
import { processesAt } from "../support/processes.ts";
import { submit } from "../support/queue.ts";
import { fixtureWorker, testPython } from "../support/server.ts";
import { post, postStream } from "../support/sse.ts";

const START_TIMEOUT_MS = 60_000;

interface Server extends AsyncDisposable {
  /** Nothing of the server is outside it: settings, data, sockets. */
  readonly directory: string;
  readonly child: ChildProcess;
  readonly exit: Promise<number | null>;
  url(): Promise<string>;
  /** Everything that it wrote. */
  said(): string;
}

/** The command as an operator runs it, with the real worker or a fixture. `wrapper` is a program that it runs under, given the data folder as its first argument. */
async function serve(
  worker: string | undefined,
  env: Record<string, string> = {},
  wrapper: readonly string[] = [],
): Promise<Server> {
  const directory = await mkdtemp(join(tmpdir(), "latentcast-fault-"));
  for (const name of ["tmp", "data"]) await mkdir(join(directory, name));
  const [program] = worker === undefined ? [] : fixtureWorker(worker);
  const python = await writeProgram(
    join(directory, "python"),
    ...(program === undefined
      ? []
      : [`if [ "$1 $2" = "-P -m" ]; then shift 3; exec ${testPython()} ${program} "$@"; fi`]),
    `exec ${testPython()} "$@"`,
  );
  const command = [...COMMAND, "serve", "--port", "0"];
  const [file = "", ...args] = wrapper.length > 0 ? [...wrapper, join(directory, "data"), ...command] : command;
  const child = spawn(file, args, {
    env: {
      ...process.env,
      TMPDIR: join(directory, "tmp"),
      LATENTCAST_PYTHON: python,
      LATENTCAST_DATA_DIR: join(directory, "data"),
      LATENTCAST_CACHE_DIR: join(directory, "cache"),
      LATENTCAST_DEVICES: "cpu",
      // Overload has a test of its own; a crowded machine must not bring it into these.
      LATENTCAST_MAX_EVENT_LOOP_DELAY_SECONDS: "60",
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said: string[] = [];
  for (const stream of [child.stdout, child.stderr]) createInterface(stream).on("line", (line) => said.push(line));
  const exit = once(child, "exit").then(([code]): number | null => code);
  return {
    directory,
    child,
    exit,
    said: () => said.join("\n"),
    url: () =>
      eventually(() => {
        const found = /listens on (http:\S+)/.exec(said.join("\n"))?.[1];
        if (found === undefined) throw new Error(said.join("\n"));
        return found;
      }, START_TIMEOUT_MS),
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await exit;
      await rm(directory, { recursive: true, force: true });
    },
  };
}

interface Health {
  readonly workers: readonly { readonly pid: number; readonly jobs: number; readonly state: string }[];
}

async function workerOf(url: string): Promise<Health["workers"][number]> {
  const { workers }: Health = await (await fetch(`${url}/health`)).json();
  return workers[0]!;
}

async function isReady(url: string): Promise<void> {
  await eventually(async () => expect((await fetch(`${url}/ready`)).status).toBe(200), START_TIMEOUT_MS);
}

/** The folders of the server's sockets. */
async function socketFolders({ directory }: Server): Promise<string[]> {
  return (await readdir(join(directory, "tmp"))).filter((name) => name.startsWith("latentcast-"));
}

async function leavesNothing(server: Server): Promise<void> {
  await eventually(() => expect(processesAt(server.directory)).toEqual([]));
  expect(await socketFolders(server)).toEqual([]);
}

describe("a server that is signalled", () => {
  it.each(["SIGTERM", "SIGINT"] as const)("by %s before it listens, ends", async (signal) => {
    await using server = await serve("fixture_worker");
    await once(server.child, "spawn");
    server.child.kill(signal);
    // Too early for its own handlers it dies of the signal and has no exit code; later it ends in order.
    expect([null, 0, 130]).toContain(await server.exit);
    await leavesNothing(server);
  });

  it.each(["SIGTERM", "SIGINT"] as const)("by %s while its worker loads, ends in order", async (signal) => {
    await using server = await serve("never_ready");
    const url = await server.url();
    expect((await fetch(`${url}/ready`)).status).toBe(503);
    const sockets = await socketFolders(server);
    expect(sockets).toHaveLength(1);
    expect((await stat(join(server.directory, "tmp", sockets[0]!))).mode & 0o777).toBe(0o700);
    server.child.kill(signal);
    expect(await server.exit).toBe(0);
    await leavesNothing(server);
  });

  it.each(["SIGTERM", "SIGINT"] as const)(
    "by %s in the middle of a stream, finishes it and takes no more",
    async (signal) => {
      await using server = await serve("fixture_worker", { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.2" });
      const url = await server.url();
      await isReady(url);
      const stream = postStream(`${url}/stream`, { prompt: "x", num_inference_steps: 30 });
      await eventually(async () => expect((await workerOf(url)).jobs).toBe(1), START_TIMEOUT_MS);
      server.child.kill(signal);
      await eventually(async () => expect((await fetch(`${url}/ready`)).status).toBe(503));
      const refused = await post(url, { prompt: "late" });
      expect([refused.status, (await refused.json()).error_type]).toEqual([503, "draining"]);
      const { events, broken } = await stream;
      expect(broken).toBeUndefined();
      expect(events.at(-1)).toMatchObject({ prompt: "x", image: {} });
      expect(await server.exit).toBe(0);
      await leavesNothing(server);
    },
  );
});

describe("a server that may drain for a year", () => {
  it("finishes what is under way, and ends when it is done", async () => {
    await using server = await serve("fixture_worker", {
      LATENTCAST_DRAIN_TIMEOUT_SECONDS: "31536000",
      LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.1",
    });
    const url = await server.url();
    await isReady(url);
    const drawn = post(url, { prompt: "x", num_inference_steps: 20 });
    await eventually(async () => expect((await workerOf(url)).jobs).toBe(1), START_TIMEOUT_MS);
    server.child.kill("SIGTERM");
    const response = await drawn;
    expect([response.status, await response.json()]).toMatchObject([200, { prompt: "x" }]);
    expect(await server.exit).toBe(0);
    // Node's own words for a timer that it fires too early.
    expect(server.said()).not.toContain("TimeoutOverflowWarning");
    await leavesNothing(server);
  });
});

describe("a server whose processes are all signalled at once, as by a service manager", () => {
  const picture = { prompt: "x", seed: 7, num_inference_steps: 20, preview: false };
  let dataDir: string;
  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), "latentcast-data-"));
  });
  afterEach(() => rm(dataDir, { recursive: true, force: true }));

  it("finishes all that it has accepted", async () => {
    const env = {
      LATENTCAST_DATA_DIR: dataDir,
      LATENTCAST_MODEL: "noise",
      LATENTCAST_WORKER_THREADS: "1",
      LATENTCAST_MAX_BATCH: "1",
    };
    await using server = await serve(undefined, env);
    const url = await server.url();
    await isReady(url);
    const direct = post(url, picture);
    const replies = await Promise.all([1, 2, 3].map((seed) => submit(url, { ...picture, seed })));
    await eventually(async () => expect((await workerOf(url)).jobs).toBeGreaterThan(0));
    const { pid } = await workerOf(url);
    for (const process_ of [server.child.pid ?? 0, pid]) process.kill(process_, "SIGTERM");
    expect((await direct).status).toBe(200);
    expect(await server.exit).toBe(0);
    await using next = await serve("never_ready", env);
    for (const { request_id: id } of replies)
      expect(await (await fetch(`${await next.url()}/requests/${id}/status`)).json()).toMatchObject({
        status: "COMPLETED",
        metrics: { inference_time: expect.any(Number) },
      });
  });

  it("leaves the jobs of a worker that died to the next server, and counts no attempt", async () => {
    // None of these ends before its worker dies.
    const env = { LATENTCAST_DATA_DIR: dataDir, LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.5" };
    const ids: string[] = [];
    for (let round = 0; round < 4; round += 1) {
      await using server = await serve("fixture_worker", env);
      const url = await server.url();
      await isReady(url);
      if (round === 0)
        ids.push(
          ...(await Promise.all([1, 2, 3].map((seed) => submit(url, { ...picture, seed })))).map(
            ({ request_id: id }) => id,
          ),
        );
      const direct = post(url, picture);
      await eventually(async () => expect((await workerOf(url)).jobs).toBe(4));
      const { pid } = await workerOf(url);
      for (const process_ of [server.child.pid ?? 0, pid]) process.kill(process_, "SIGTERM");
      expect([(await direct).status, await server.exit]).toEqual([503, 0]);
    }
    await using last = await serve("fixture_worker", { ...env, LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.001" });
    const url = await last.url();
    for (const [index, id] of ids.entries()) {
      await eventually(
        async () => expect((await fetch(`${url}/requests/${id}/status`)).status).toBe(200),
        START_TIMEOUT_MS,
      );
      expect(await (await fetch(`${url}/requests/${id}`)).json()).toMatchObject({ seed: index + 1 });
    }
  });
});

describe("a server that is killed", () => {
  it("leaves no worker behind, not even one that is busy", async () => {
    await using server = await serve("fixture_worker", { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "60" });
    const url = await server.url();
    await isReady(url);
    const answer = post(url, { prompt: "x" }).catch(() => "cut off");
    await eventually(async () => expect((await workerOf(url)).jobs).toBe(1), START_TIMEOUT_MS);
    const { pid } = await workerOf(url);
    expect(isAlive(pid)).toBe(true);
    server.child.kill("SIGKILL");
    await server.exit;
    expect(await answer).toBe("cut off");
    await eventually(() => expect(processesAt(server.directory)).toEqual([]));
  });

  it("leaves a socket folder, which the next server removes", async () => {
    await using first = await serve("never_ready");
    await first.url();
    const [left = ""] = await socketFolders(first);
    first.child.kill("SIGKILL");
    await first.exit;
    expect(await socketFolders(first)).toEqual([left]);
    const folder = join(first.directory, "tmp", left);
    // One that is younger might be of a server that starts just now.
    const anHourAgo = Date.now() / 1_000 - 3_600;
    await utimes(folder, anHourAgo, anHourAgo);
    await using second = await serve("never_ready", { TMPDIR: join(first.directory, "tmp") });
    await second.url();
    const folders = await socketFolders(first);
    expect(folders).toHaveLength(1);
    expect(folders).not.toContain(left);
  });
});

describe("a server whose cache folder cannot be written", () => {
  it("keeps its cache in the temporary folder, and one that is killed leaves it to the next one to remove", async () => {
    // Nobody makes folders there, not even root.
    const env = { LATENTCAST_CACHE_DIR: "/proc/self/cache" };
    await using first = await serve("never_ready", env);
    await first.url();
    const caches = async (): Promise<string[]> =>
      (await readdir(join(first.directory, "tmp"))).filter((name) => name.startsWith("latentcast-cache-"));
    const left = await caches();
    expect(left).toHaveLength(1);
    const shared = { ...env, TMPDIR: join(first.directory, "tmp") };
    await using beside = await serve("never_ready", shared);
    await beside.url();
    expect(await caches()).toHaveLength(2);
    first.child.kill("SIGKILL");
    await first.exit;
    await using next = await serve("never_ready", shared);
    await next.url();
    const now = await caches();
    expect(now).toHaveLength(2);
    expect(now).not.toContain(left[0]);
    next.child.kill("SIGTERM");
    expect(await next.exit).toBe(0);
    expect(await caches()).toHaveLength(1);
  });
});

describe("a data folder that cannot be used", () => {
  const refused = async (dataDir: string): Promise<string> => {
    const directory = await mkdtemp(join(tmpdir(), "latentcast-fault-"));
    const [program, ...args] = [...COMMAND, "serve", "--port", "0"];
    const child = spawn(program, args, {
      env: { ...process.env, TMPDIR: directory, LATENTCAST_PYTHON: testPython(), LATENTCAST_DATA_DIR: dataDir },
      stdio: ["ignore", "ignore", "pipe"],
    });
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    const [code] = await once(child, "exit");
    await rm(directory, { recursive: true, force: true });
    expect(code).toBe(2);
    return said.trim();
  };

  // Nobody makes files there, nor folders, not even root.
  it.each(["/proc/self", "/proc/self/data"])("because %s is not writable is named with its setting", async (folder) => {
    const said = await refused(folder);
    expect(said).toMatch(new RegExp(`LATENTCAST_DATA_DIR.*${folder}`));
    expect(said.split("\n")).toHaveLength(1);
  });

  it("because its store is damaged is named in one line, and nothing is changed", async () => {
    const directory = await mkdtemp(join(tmpdir(), "latentcast-fault-"));
    const path = join(directory, "queue.db");
    await writeFile(path, Buffer.alloc(10_000, "damaged"));
    const said = await refused(directory);
    expect(said).toContain(path);
    expect(said.split("\n")).toHaveLength(1);
    expect(await readFile(path)).toEqual(Buffer.alloc(10_000, "damaged"));
    await rm(directory, { recursive: true, force: true });
  });
});

const canMount = spawnSync("unshare", ["-rm", "true"]).status === 0;

describe("a data folder on a full disk", () => {
  it("refuses queued requests, ends accepted ones, and still serves direct requests", async ({ skip }) => {
    if (!canMount) skip("needs mount namespaces");
    // The mount is the server's alone and goes with it.
    const small = 'mount -t tmpfs -o size=3m tmpfs "$1" && shift && exec "$@"';
    await using server = await serve("fixture_worker", {}, ["unshare", "-rm", "sh", "-c", small, "sh"]);
    const url = await server.url();
    await isReady(url);
    const input = { prompt: "x".repeat(5_000), num_inference_steps: 1, preview: false };
    const accepted: string[] = [];
    let refused: unknown;
    for (let sent = 0; sent < 3_000 && refused === undefined; sent += 1) {
      try {
        accepted.push((await submit(url, input)).request_id);
      } catch (error) {
        refused = error;
      }
    }
    expect(String(refused)).toMatch(/507.*storage_full/);
    expect(String(refused)).not.toContain(server.directory);
    expect(accepted.length).toBeGreaterThan(10);
    for (const id of accepted.slice(-20)) {
      await eventually(async () => {
        expect((await (await fetch(`${url}/requests/${id}/status`)).json()).status).toBe("COMPLETED");
      }, START_TIMEOUT_MS);
      const result = await fetch(`${url}/requests/${id}`);
      // Its picture, or the reason why there is none to keep.
      expect([200, 507]).toContain(result.status);
    }
    expect((await fetch(`${url}/ready`)).status).toBe(200);
    expect((await post(url, { prompt: "still here" })).status).toBe(200);
  });
});
