/** Real interpreters, real environments, real pip. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from "vitest";
import { environmentDirectory, managedPython, type EnvironmentOptions } from "../../src/python/environment.ts";
import { eventually } from "../support/eventually.ts";
import { processesAt } from "../support/processes.ts";
import { testPython } from "../support/server.ts";
import { makePythonProject, writeProgram, type PythonProject } from "../support/python-project.ts";

/** Its environment is what tests start from that need a finished one: to copy it takes a twentieth of the time that venv and pip take. */
let finished: PythonProject;
beforeAll(async () => {
  finished = await makePythonProject();
  const { root, cacheDir, env } = finished;
  await managedPython({ python: null, cacheDir }, { root, env });
});
afterAll(() => finished[Symbol.asyncDispose]());

let project: PythonProject;
beforeEach(async () => {
  project = await makePythonProject();
});
afterEach(() => project[Symbol.asyncDispose]());

function make(options: Partial<EnvironmentOptions> = {}): Promise<string> {
  const { root, cacheDir, env } = project;
  return managedPython({ python: null, cacheDir }, { root, env, ...options });
}

/** Gives the project a finished environment; its interpreter. */
async function haveEnvironment(): Promise<string> {
  await cp(finished.venv, project.venv, { recursive: true, verbatimSymlinks: true });
  return join(project.venv, "bin", "python");
}

function run(python: string, code: string): string {
  return execFileSync(python, ["-c", code], { encoding: "utf8" }).trim();
}

/** Resolves with the first line of a child's output that matches. */
function lineOf(child: ChildProcess, pattern: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      const line = text.split("\n").find((candidate) => pattern.test(candidate));
      if (line !== undefined) resolve(line);
    });
    child.once("exit", () => reject(new Error(`ended without ${String(pattern)}: ${text}`)));
  });
}

function spawnMaker(): ChildProcess {
  const args = [join(inject("builtPrograms"), "make-environment.js"), project.root, project.cacheDir];
  return spawn(process.execPath, args, { env: project.env, stdio: ["ignore", "pipe", "inherit"] });
}

describe("managedPython", () => {
  it("makes an environment once, and afterwards recognises it without touching it", async () => {
    const python = await make();
    expect(python).toBe(join(project.venv, "bin", "python"));
    expect(run(python, "import fixture_base; print(fixture_base.VERSION)")).toBe("1.0");
    const before = await stat(project.venv);
    const progress: string[] = [];
    expect(await make({ onProgress: ({ text }) => progress.push(text) })).toBe(python);
    expect(progress).toEqual([]);
    expect((await stat(project.venv)).mtimeMs).toBe(before.mtimeMs);
    expect(existsSync(`${project.venv}.lock`)).toBe(false);
  });

  it("remakes it when the requirements change, with nothing of the old one left", async () => {
    await haveEnvironment();
    await project.require("2.0");
    const python = await make();
    expect(run(python, "import fixture_base; print(fixture_base.VERSION)")).toBe("2.0");
    expect(() => run(python, "import fixture_base_1")).toThrow("ModuleNotFoundError");
    expect(existsSync(`${project.venv}.old`)).toBe(false);
  });

  it("remakes it when its interpreter is no longer the version it was made with", async () => {
    const python = await haveEnvironment();
    const file = join(project.venv, "latentcast-worker.json");
    const stamp = JSON.parse(await readFile(file, "utf8"));
    await writeFile(file, JSON.stringify({ ...stamp, python: "3.9" }));
    await writeFile(join(project.venv, "trace"), "");
    await make();
    expect(existsSync(join(project.venv, "trace"))).toBe(false);
    expect(run(python, "import fixture_base")).toBe("");
  });

  it("adds the development packages on top without remaking it", async () => {
    await haveEnvironment();
    const { ino } = await stat(project.venv);
    const python = await make({ packages: "dev" });
    expect(run(python, "import fixture_dev")).toBe("");
    expect((await stat(project.venv)).ino).toBe(ino);
  });

  it("ends pip when it is aborted, and the next attempt succeeds", async () => {
    const abort = new AbortController();
    const aborted = make({
      signal: abort.signal,
      onProgress: ({ text }) => text.startsWith("making") && abort.abort(),
    });
    await expect(aborted).rejects.toMatchObject({ code: "interrupted" });
    expect(processesAt(project.venv)).toEqual([]);
    expect(run(await make(), "import fixture_base")).toBe("");
  });

  it("recovers from a process that was killed half-way, whose pip died with it", async () => {
    const maker = spawnMaker();
    await lineOf(maker, /^(resolving|found) /);
    maker.kill("SIGKILL");
    await eventually(() => expect(processesAt(project.venv)).toEqual([]));
    expect(run(await make(), "import fixture_base")).toBe("");
  });

  it("is made by one of two processes while the other waits", async () => {
    const makers = [spawnMaker(), spawnMaker()];
    const outputs = makers.map((maker) => {
      let text = "";
      maker.stdout?.on("data", (chunk: Buffer) => (text += chunk.toString()));
      return new Promise<string>((resolve) => maker.once("close", () => resolve(text)));
    });
    const texts = await Promise.all(outputs);
    for (const text of texts) expect(text).toContain(`ready ${project.venv}`);
    expect(texts.join("").match(/^making /gm)).toHaveLength(1);
  });

  it("says that the package index cannot be reached", async () => {
    // Port 9 of this machine: refused at once.
    const env = {
      ...project.env,
      PIP_NO_INDEX: "0",
      PIP_FIND_LINKS: "",
      PIP_INDEX_URL: "http://127.0.0.1:9/",
      PIP_RETRIES: "1",
    };
    await expect(make({ env })).rejects.toMatchObject({
      code: "no_network",
      hint: expect.stringContaining("check the connection"),
    });
  });

  it("says that a requirement has no build for this machine", async () => {
    await project.require("9.9");
    await expect(make()).rejects.toMatchObject({ code: "no_release" });
  });

  it("keeps the environment that works when its replacement cannot be made", async () => {
    const python = await haveEnvironment();
    await project.require("9.9");
    await expect(make()).rejects.toMatchObject({ code: "no_release" });
    expect(run(python, "import fixture_base; print(fixture_base.VERSION)")).toBe("1.0");
    expect(existsSync(`${project.venv}.new`)).toBe(false);
  });

  it("recovers from an interruption between putting the old one aside and the new one in its place", async () => {
    const python = await haveEnvironment();
    await rename(project.venv, `${project.venv}.old`);
    const progress: string[] = [];
    await make({ onProgress: ({ text }) => progress.push(text) });
    expect(progress).toEqual([]);
    expect(run(python, "import fixture_base")).toBe("");
  });

  it("has scripts that run where it is now", async () => {
    await make();
    expect(execFileSync(join(project.venv, "bin", "pip"), ["--version"], { encoding: "utf8" })).toContain(project.venv);
  });

  it("recognises an interpreter that starts only with its library path", async () => {
    const python = await haveEnvironment();
    const real = join(project.venv, "bin", "python3-real");
    await rename(python, real);
    await writeProgram(python, '[ -n "$LD_LIBRARY_PATH" ] || exit 127', `exec ${real} "$@"`);
    const progress: string[] = [];
    const env = { ...project.env, LD_LIBRARY_PATH: "/opt/python/lib" };
    await make({ env, onProgress: ({ text }) => progress.push(text) });
    expect(progress).toEqual([]);
  });

  it("never deletes an environment that it did not make", async () => {
    await mkdir(join(project.venv, "bin"), { recursive: true });
    await writeFile(join(project.venv, "precious"), "");
    await expect(make()).rejects.toMatchObject({ code: "foreign_environment" });
    expect(existsSync(join(project.venv, "precious"))).toBe(true);
  });
});

describe("environmentDirectory", () => {
  it("is in the project folder of a checkout and in the cache of an installed package", () => {
    expect(environmentDirectory("/src/latentcast", "/cache")).toBe("/src/latentcast/.venv");
    expect(environmentDirectory("/usr/lib/node_modules/latentcast", "/cache")).toBe("/cache/venv");
  });
});

describe("a search for Python", () => {
  /** PATH of one folder with the named programs. */
  async function path(programs: Readonly<Record<string, string>>): Promise<EnvironmentOptions> {
    const bin = join(project.root, "bin");
    await mkdir(bin);
    for (const [name, line] of Object.entries(programs)) await writeProgram(join(bin, name), line);
    return { env: { ...project.env, PATH: bin } };
  }
  const answer = (fields: object): string =>
    `echo '${JSON.stringify({ version: [3, 12, 1], executable: "/opt/python", is64Bit: true, hasVenv: true, ...fields })}'`;

  it("skips a shim that fails and takes the next", async () => {
    const real = execFileSync("sh", ["-c", "command -v python3.11 || command -v python3"], { encoding: "utf8" }).trim();
    const programs = {
      "python3.13": "echo 'pyenv: command not found' >&2; exit 127",
      python3: `PATH=/usr/bin:/bin exec ${real} "$@"`,
    };
    expect(await make(await path(programs))).toBe(join(project.venv, "bin", "python"));
  });

  it("that finds none says so", async () => {
    await expect(make(await path({}))).rejects.toMatchObject({ code: "python_missing" });
  });

  it("names a version that is too old or too new, or 32 bit", async () => {
    await expect(make(await path({ python3: answer({ version: [3, 9, 2] }) }))).rejects.toThrow("Python 3.9.2");
    const tooNew = answer({ version: [3, 19, 0] });
    await writeProgram(join(project.root, "bin", "python3"), tooNew);
    const options = { env: { ...project.env, PATH: join(project.root, "bin") } };
    await expect(make(options)).rejects.toMatchObject({ code: "python_unsupported" });
    await writeProgram(join(project.root, "bin", "python3"), answer({ is64Bit: false }));
    await expect(make(options)).rejects.toThrow("32 bit");
  });

  it("says which package brings the venv module", async () => {
    const options = await path({ python3: answer({ hasVenv: false }) });
    await expect(make(options)).rejects.toMatchObject({ code: "venv_missing" });
    await expect(make(options)).rejects.toThrow("python3.12-venv");
  });
});

describe("a named interpreter", () => {
  const named = (python: string): Promise<string> =>
    managedPython({ python, cacheDir: project.cacheDir }, { root: project.root, env: project.env });

  // pip itself is a package that every interpreter with ensurepip has.
  const installed = "pip==1";
  const requirements = (...lines: readonly string[]): Promise<void> =>
    writeFile(join(project.root, "python", "requirements.txt"), lines.join("\n"));

  it("is used as it is when it has the packages, whatever their versions", async () => {
    await requirements(installed);
    expect(await named(testPython())).toBe(testPython());
    expect(existsSync(project.venv)).toBe(false);
  });

  it("is refused with the packages that it lacks", async () => {
    await requirements(installed, "absent-one==1  # why", "absent-two==2");
    await expect(named(testPython())).rejects.toMatchObject({ code: "packages_missing" });
    await expect(named(testPython())).rejects.toThrow("lacks absent-one, absent-two: run");
  });

  it("is refused when it does not run", async () => {
    await expect(named("/nowhere/python")).rejects.toMatchObject({ code: "python_missing" });
  });
});
