/** Project folders whose requirements install in a second, from wheels made on the spot: real pip, no network. */
import { execFileSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findInterpreter } from "../../src/python/interpreter.ts";

export interface PythonProject extends AsyncDisposable {
  readonly root: string;
  readonly cacheDir: string;
  readonly venv: string;
  /** For pip: only the wheels of this project. */
  readonly env: Readonly<Record<string, string | undefined>>;
  require(version: string): Promise<void>;
}

/** A wheel is a zip; the standard library writes one. */
const MAKE_WHEELS = `
import sys, zipfile
for name, version in (("fixture_base", "1.0"), ("fixture_base", "2.0"), ("fixture_dev", "1.0")):
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(f"{sys.argv[1]}/{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", f"VERSION = {version!r}\\n")
        wheel.writestr(f"{name}_{version[0]}.py", "")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nGenerator: fixture\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
`;

export async function makePythonProject(): Promise<PythonProject> {
  const directory = await mkdtemp(join(tmpdir(), "latentcast-python-"));
  const root = join(directory, "project");
  const wheels = join(directory, "wheels");
  await mkdir(join(root, "python"), { recursive: true });
  await mkdir(wheels);
  const { executable } = await findInterpreter(process.env);
  execFileSync(executable, ["-I", "-c", MAKE_WHEELS, wheels]);
  const project: PythonProject = {
    root,
    cacheDir: join(directory, "cache"),
    venv: join(root, ".venv"),
    env: {
      ...process.env,
      PIP_CONFIG_FILE: "/dev/null",
      PIP_NO_INDEX: "1",
      PIP_FIND_LINKS: wheels,
      PIP_NO_CACHE_DIR: "1",
    },
    require: (version) => writeFile(join(root, "python", "requirements.txt"), `fixture-base==${version}\n`),
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
  await project.require("1.0");
  await writeFile(join(root, "python", "requirements-dev.txt"), "-r requirements.txt\nfixture-dev==1.0\n");
  return project;
}

/** A program of shell lines, such as an interpreter that misbehaves. */
export async function writeProgram(file: string, ...lines: readonly string[]): Promise<string> {
  await writeFile(file, ["#!/bin/sh", ...lines, ""].join("\n"));
  await chmod(file, 0o755);
  return file;
}
