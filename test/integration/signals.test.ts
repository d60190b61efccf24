/** Signals and terminals as they really are: two signals for one key, a terminal that is stopped or closed, a log nobody reads. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { addressOf, COMMAND, eventually, useCommandLine, type Run } from "../support/command-line.ts";
import { processesAt } from "../support/processes.ts";
import { RealtimeClient } from "../support/realtime.ts";
import { testPython } from "../support/server.ts";

const cli = useCommandLine();
const TERMINAL = fileURLToPath(new URL("../fixtures/terminal.py", import.meta.url));
const SLOW = { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.2" };
/** With {@link SLOW} three seconds: it is still drawn when it has been seen at work. */
const STEPS = 15;
const FOREVER = { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "60" };

/** The status, or "cut off". */
function draw(url: string): Promise<number | string> {
  const body = JSON.stringify({ prompt: "a cat", num_inference_steps: STEPS });
  return fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body }).then(
    ({ status }) => status,
    () => "cut off",
  );
}

/** Resolves when the worker has a job. */
async function atWork(url: string): Promise<void> {
  await eventually(async () => {
    const health: unknown = await (await fetch(`${url}/health`)).json();
    expect(health).toMatchObject({ workers: [{ jobs: 1 }] });
  });
}

async function ready(url: string): Promise<void> {
  await eventually(async () => expect((await fetch(`${url}/ready`)).status).toBe(200));
}

interface InTerminal extends Run {
  press(key: "interrupt" | "stop" | "resume" | "hang-up"): void;
  pid(): number;
  /** The exit code of what ran in the terminal. */
  code(): Promise<number>;
}

/** Runs a command in a terminal of its own. */
function inTerminal(command: readonly string[], env: Readonly<Record<string, string>>, cwd?: string): InTerminal {
  const run = cli.spawn(["env", "-u", "CI", testPython(), TERMINAL, ...command], {
    env: { TERM: "xterm", ...env },
    ...(cwd === undefined ? {} : { cwd }),
  });
  return {
    ...run,
    press: (key) => void run.child.stdin?.write(`${key}\n`),
    pid: () => Number(/pid (\d+)/.exec(run.output().out)?.[1]),
    code: async () => {
      await run.exit;
      return Number(/exit (-?\d+)/.exec(run.output().out)?.[1]);
    },
  };
}

describe("a server", () => {
  it("finishes what was accepted at the first signal", async () => {
    const { url, child, exit } = await cli.serve({ env: SLOW });
    await ready(url);
    const answer = draw(url);
    await atWork(url);
    child.kill("SIGINT");
    expect(await answer).toBe(200);
    expect(await exit).toBe(0);
  });

  it.each(["SIGTERM", "SIGINT"] as const)("by %s finishes a realtime input, and closes its socket", async (signal) => {
    const { url, child, exit } = await cli.serve({ env: SLOW });
    await ready(url);
    await using client = await RealtimeClient.open(url);
    client.ask({ prompt: "a cat", request_id: "a", num_inference_steps: STEPS });
    await atWork(url);
    child.kill(signal);
    expect((await client.result("a")).message).toMatchObject({ request_id: "a" });
    expect(await client.closed).toBe(1_001);
    expect(await exit).toBe(0);
  });

  it("counts two signals at one moment as one", async () => {
    const { url, child, exit } = await cli.serve({ env: SLOW });
    await ready(url);
    const answer = draw(url);
    await atWork(url);
    child.kill("SIGINT");
    child.kill("SIGINT");
    child.kill("SIGTERM");
    expect(await answer).toBe(200);
    expect(await exit).toBe(0);
  });

  it("ends at once at a second signal, and leaves no worker behind", async () => {
    const { url, child, exit, output } = await cli.serve({ env: FOREVER });
    await ready(url);
    const answer = draw(url);
    await atWork(url);
    child.kill("SIGINT");
    await eventually(() => expect(output().err).toContain("a second signal ends now"));
    child.kill("SIGINT");
    expect(await exit).toBe(130);
    expect(await answer).toBe("cut off");
    await eventually(() => expect(processesAt(cli.directory)).toEqual([]));
  });

  it("started with nohup goes on when its session ends", async () => {
    const { url, child, exit } = await cli.serve({ wrapper: ["nohup"] });
    await ready(url);
    child.kill("SIGHUP");
    expect(await draw(url)).toBe(200);
    child.kill("SIGTERM");
    expect(await exit).toBe(0);
  });

  it("keeps answering and ends although nobody reads its log", async () => {
    const { url, child, exit } = await cli.serve({ env: { LATENTCAST_LOG_LEVEL: "trace" } });
    await ready(url);
    child.stdout?.pause();
    child.stderr?.pause();
    // Far more lines than a pipe holds.
    for (let round = 0; round < 20; round += 1) {
      await Promise.all(Array.from({ length: 50 }, () => fetch(`${url}/no-such-path`)));
    }
    expect(await draw(url)).toBe(200);
    const exited = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    expect(await exited).toBe(0);
    child.stdout?.resume();
    child.stderr?.resume();
    await exit;
  });

  it("goes on after the reader of its log has gone", async () => {
    const { url, child, exit } = await cli.serve();
    await ready(url);
    child.stdout?.destroy();
    child.stderr?.destroy();
    await fetch(`${url}/no-such-path`);
    expect(await draw(url)).toBe(200);
    child.kill("SIGTERM");
    expect(await exit).toBe(0);
  });
});

describe("a server in a terminal", () => {
  it("under npm finishes what was accepted at one Ctrl-C", async () => {
    const scripts = { start: `exec ${COMMAND.join(" ")} serve --port 0` };
    await writeFile(join(cli.directory, "package.json"), JSON.stringify({ name: "x", private: true, scripts }));
    const run = inTerminal(["npm", "start"], SLOW, cli.directory);
    const url = await addressOf(run);
    await ready(url);
    const answer = draw(url);
    await atWork(url);
    run.press("interrupt");
    expect(await answer).toBe(200);
    await run.code();
    await eventually(() => expect(processesAt(cli.directory)).toEqual([]));
  });

  it("goes on answering while the terminal is stopped, and ends there", async () => {
    const run = inTerminal([...COMMAND, "serve", "--port", "0"], { LATENTCAST_LOG_LEVEL: "trace" });
    const url = await addressOf(run);
    await ready(url);
    run.press("stop");
    for (let round = 0; round < 20; round += 1) {
      expect((await fetch(`${url}/no-such-path`, { signal: AbortSignal.timeout(30_000) })).status).toBe(404);
    }
    expect(await draw(url)).toBe(200);
    run.press("resume");
    await eventually(() => expect(run.output().out).toContain("no-such-path"));
    run.press("stop");
    await fetch(`${url}/no-such-path`);
    process.kill(run.pid(), "SIGTERM");
    expect(await run.code()).toBe(0);
  });

  it("finishes and ends when the terminal is closed", async () => {
    const run = inTerminal([...COMMAND, "serve", "--port", "0"], SLOW);
    const url = await addressOf(run);
    await ready(url);
    const answer = draw(url);
    await atWork(url);
    run.press("hang-up");
    expect(await answer).toBe(200);
    expect(await run.code()).toBe(0);
  });
});
