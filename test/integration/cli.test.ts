/** Commands: what they write, how they end, and their mistakes in one line each. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { runCommandLine } from "../../src/cli.ts";
import { openTerminal } from "../../src/cli/terminal.ts";
import { eventually, useCommandLine } from "../support/command-line.ts";
import { processesAt } from "../support/processes.ts";
import { testPython } from "../support/server.ts";

const cli = useCommandLine();
const { finish, serve, start } = cli;

/** The same without a process: what is printed, and how the command ended. */
async function tell(...args: readonly string[]) {
  const out: string[] = [];
  const err: string[] = [];
  const sink = (lines: string[]) => ({ write: (text: string) => lines.push(text) > 0 });
  const terminal = openTerminal(sink(out), sink(err), {});
  const outcome = await runCommandLine({ args, env: {}, terminal, signal: new AbortController().signal });
  return { outcome, out: out.join(""), err: err.join("") };
}

describe("latentcast", () => {
  it("lists its commands", async () => {
    const { outcome, out } = await tell("--help");
    for (const command of ["serve", "generate", "setup", "doctor"]) expect(out).toContain(`latentcast ${command}`);
    expect(outcome).toBe("done");
    expect(await tell()).toMatchObject({ outcome, out });
  });

  it.each(["serve", "generate", "setup", "doctor"])("explains every flag of %s", async (command) => {
    const { outcome, out } = await tell(command, "--help");
    expect(outcome).toBe("done");
    expect(out).toContain("--python");
  });

  it("prints its version", async () => {
    const { version } = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));
    expect(await finish(["--version"])).toEqual({ code: 0, out: `${version}\n`, err: "" });
  });

  it("exits with 2 when it is misused", async () => {
    expect(await finish(["serv"])).toMatchObject({ code: 2, out: "" });
  });

  it.each([
    [["serv"], 'unknown command "serv"; did you mean serve?'],
    [["serve", "--prot", "1"], "unknown flag --prot; did you mean --port?"],
    [["serve", "--port", "99999"], "--port:"],
    [["serve", "--host", "0.0.0.0"], "LATENTCAST_API_KEYS"],
    [["generate", "-o", "x.png"], "a prompt is missing"],
    [["generate", "a cat"], "the output file is missing"],
    [["generate", "a cat", "-o", "x.gif"], "x.gif does not end in"],
    [["generate", "a cat", "-o", "nowhere/x.png"], "there is no folder nowhere"],
    [["generate", "a", "cat", "-o", "x.png"], 'does not take "cat"'],
    [["generate", "a cat", "-o", "x.png", "--steps", "many"], '--steps: "many" is not a number'],
    [["generate", "a cat", "-o", "x.png", "--steps", "51"], "--steps:"],
    [["generate", "a cat", "-o", "x.png", "--scheduler", "magic"], "--scheduler:"],
    [["generate", "a cat", "-o", "x.png", "--model", "demo", "--model", "noise"], "generate draws with one model"],
    [["generate", "a cat", "-o", "x.png", "--show"], "--show needs a terminal"],
  ])("refuses %j in one line", async (args, message) => {
    const { outcome, out, err } = await tell(...args);
    expect(err).toContain(message);
    expect(err.trim().split("\n")).toHaveLength(1);
    expect({ outcome, out }).toEqual({ outcome: "misused", out: "" });
  });

  it("says in one line that the interpreter is missing, with exit code 1", async () => {
    for (const args of [["setup"], ["serve"], ["generate", "a cat", "-o", join(cli.directory, "x.png")]]) {
      const { code, err } = await finish(args, { env: { LATENTCAST_PYTHON: "/nowhere/python" } });
      expect(err).toContain("/nowhere/python is not a working Python 3");
      expect(err.trim().split("\n")).toHaveLength(1);
      expect(code).toBe(1);
    }
  });
});

describe("latentcast generate", () => {
  it("warns when the model knows no word of the prompt", async () => {
    const file = join(cli.directory, "cat.png");
    const { code, err } = await finish([
      "generate",
      "a cat",
      "-o",
      file,
      "--steps",
      "1",
      "--model",
      "demo",
      "--python",
      testPython(),
    ]);
    expect(code).toBe(0);
    expect(err).toContain("this small model paints landscapes");
  });

  it("writes the image, the previews and where they are", async () => {
    const file = join(cli.directory, "out.png");
    const previews = join(cli.directory, "previews");
    const { code, out, err } = await finish(["generate", "a cat", "-o", file, "--seed", "7", "--previews", previews]);
    expect(err).toContain("step 6 of 6");
    expect(out).toBe(`${file}  64×64, seed 7\n`);
    expect(code).toBe(0);
    expect(await sharp(file).metadata()).toMatchObject({ format: "png", width: 64, height: 64 });
    expect(await readdir(previews)).toEqual(["step-00.jpg", "step-05.jpg"]);
  });

  it("numbers several images and their seeds", async () => {
    const file = join(cli.directory, "out.webp");
    const { out } = await finish(["generate", "a cat", "-o", file, "--seed", "7", "--num-images", "2"]);
    expect(out.trim().split("\n")).toEqual([
      `${join(cli.directory, "out-1.webp")}  64×64, seed 7`,
      `${join(cli.directory, "out-2.webp")}  64×64, seed 8`,
    ]);
    expect(await sharp(join(cli.directory, "out-2.webp")).metadata()).toMatchObject({ format: "webp" });
  });

  it("exits with 130 at Ctrl-C, with no image and no worker left", async () => {
    const file = join(cli.directory, "out.png");
    const run = start(["generate", "a cat", "-o", file, "--steps", "50"], {
      env: { LATENTCAST_WORKER_FIXTURE_STEP_SECONDS: "0.5" },
    });
    await eventually(() => expect(run.output().err).toContain("step 1 of 50"));
    run.child.kill("SIGINT");
    expect(await run.exit).toBe(130);
    expect(await readdir(cli.directory)).not.toContain("out.png");
    await eventually(() => expect(processesAt(cli.directory)).toEqual([]));
  });

  it("draws the previews into a terminal", async () => {
    const inTerminal = [testPython(), "-c", "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"];
    const args = ["generate", "a cat", "-o", join(cli.directory, "out.png"), "--show"];
    const run = start(args, { env: { TERM: "xterm-256color" }, wrapper: ["env", "-u", "CI", ...inTerminal] });
    expect(await run.exit, JSON.stringify(run.output())).toBe(0);
    expect(run.output().out).toMatch(/\u001B\[38;2;\d+;\d+;\d+;48;2;\d+;\d+;\d+m▀/);
    expect(run.output().out).toContain("█");
  });

  it("says why the model cannot be loaded", async () => {
    const file = join(cli.directory, "out.png");
    const { code, err } = await finish(["generate", "a cat", "-o", file, "--model", "/nowhere/model"], {
      env: { LATENTCAST_PYTHON: testPython() },
    });
    expect(err).toContain("/nowhere/model");
    expect(code).toBe(1);
  });
});

describe("latentcast serve", () => {
  it("says where it listens and what to try, and ends cleanly at the first signal", async () => {
    const { url, child, exit, output } = await serve();
    await eventually(() => expect(output().err).toContain(`curl -N ${url}/stream`));
    expect((await fetch(`${url}/ready`)).status).toBe(200);
    child.kill("SIGTERM");
    expect(await exit).toBe(0);
    await eventually(() => expect(processesAt(cli.directory)).toEqual([]));
  });

  it("says that another server has the data folder", async () => {
    const { child, exit } = await serve();
    const second = await finish(["serve", "--port", "0"]);
    expect(second.err).toContain("LATENTCAST_DATA_DIR");
    expect(second.err.trim().split("\n")).toHaveLength(1);
    expect(second.code).toBe(2);
    child.kill("SIGTERM");
    await exit;
  });

  it("says that the port is in use", async () => {
    const { url, child, exit } = await serve();
    const second = await finish(["serve", "--port", new URL(url).port, "--data-dir", join(cli.directory, "other")]);
    expect(second.err).toContain("the port is in use");
    expect(second.code).toBe(1);
    child.kill("SIGTERM");
    await exit;
  });
});

describe("latentcast doctor", () => {
  it("prints one line per check, and exits with 0 when all pass", async () => {
    const { code, out } = await finish(["doctor", "--port", "0", "--model", "noise"], {
      env: { LATENTCAST_PYTHON: testPython() },
    });
    for (const name of ["Node", "ZeroMQ", "sharp", "Python", "Environment", "Packages", "Memory", "Disk", "Port"]) {
      expect(out).toContain(name);
    }
    expect(out).not.toContain("fail");
    expect(code).toBe(0);
  });

  it("exits with 1 and says what to do when a check fails, in JSON too", async () => {
    const { code, out } = await finish(["doctor", "--json", "--port", "0"], {
      env: { LATENTCAST_PYTHON: "/nowhere/python" },
    });
    const report: unknown = JSON.parse(out);
    expect(code).toBe(1);
    expect(report).toMatchObject({
      ok: false,
      checks: expect.arrayContaining([
        expect.objectContaining({
          name: "Environment",
          state: "fail",
          hint: expect.stringContaining("LATENTCAST_PYTHON"),
        }),
      ]),
    });
  });

  it("finds weights in the cache of the hub library, and says what is missing there", async () => {
    const model = (env: Readonly<Record<string, string>>) =>
      finish(["doctor", "--json", "--port", "0", "--model", "someone/model"], {
        env: { LATENTCAST_PYTHON: "/nowhere/python", ...env },
      });
    const online = JSON.parse((await model({ HF_HOME: cli.directory })).out);
    expect(online.checks).toContainEqual(expect.objectContaining({ name: "Model", state: "warn" }));
    const offline = JSON.parse((await model({ HF_HOME: cli.directory, HF_HUB_OFFLINE: "1" })).out);
    expect(offline.checks).toContainEqual(expect.objectContaining({ name: "Model", state: "fail" }));
  });
});
