/**
 * `npm test`: every test this machine can run, the TypeScript suites and Python's, and in the end what was skipped and why.
 * With CI=true a test that was skipped although it could have run is a failure.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { devPython } from "./lib/python.ts";
import { isHere, needlesslySkipped, readJunit, type Skipped, type Tally } from "./lib/tally.ts";

/** A program that runs tests and writes what came of them to a file. */
interface Runner {
  /** Stands before each line of its output. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** Where it writes them. */
  readonly file: string;
  readonly read: (text: string) => Tally;
}

const python = await devPython();
if (python === null) process.exit(1);
const scratch = mkdtempSync(join(tmpdir(), "latentcast-tests-"));
const env = { ...process.env, LATENTCAST_PYTHON: python };

const hasDocker = isHere("Docker");
const skippedSuites: Skipped[] = [
  ...(hasDocker ? [] : [{ name: "container suite", reason: "needs Docker" }]),
  ...(isHere("nats-server") ? [] : [{ name: "clients against a fleet", reason: "needs nats-server" }]),
];

try {
  // Tests of real processes wait more than they compute, for steps that sleep, for shutdowns and browsers: beside them there is room for
  // Python's tests, which compute on one core, and for images that are built.
  const lanes = [
    [vitest("tests", "unit", "integration", "e2e", "fleet")],
    [pytest(python), ...(hasDocker ? [vitest("container", "container")] : [])],
  ];
  const tallies = (await Promise.all(lanes.map(runInTurn))).flat();
  const skipped = [...skippedSuites, ...tallies.flatMap((tally) => tally.skipped)];
  const passed = tallies.reduce((sum, tally) => sum + tally.passed, 0);
  const failed = tallies.flatMap((tally) => tally.failed);
  for (const { name, reason } of skipped)
    console.log(`skipped: ${name}: ${reason === "" ? "no reason given" : reason}`);
  if (process.env["CI"] === "true") {
    for (const { name } of needlesslySkipped(skipped)) {
      failed.push({ name, message: "was skipped although it can run here" });
    }
  }
  for (const name of tallies.flatMap((tally) => tally.flaky))
    console.log(`flaky: ${name} failed, and passed when it ran again`);
  // Last, so that they are found at the end of a long log.
  for (const { name, message } of failed) console.log(`failed: ${name}: ${message}`);
  console.log(`${passed} passed, ${failed.length} failed, ${skipped.length} skipped`);
  process.exitCode = failed.length === 0 && passed > 0 ? 0 : 1;
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

function vitest(name: string, ...projects: readonly string[]): Runner {
  const file = join(scratch, `${name}.json`);
  const reporters = ["--reporter=default", "--reporter=./scripts/lib/tally-reporter.ts"];
  const filter = projects.flatMap((project) => ["--project", project]);
  const args = ["run", "--passWithNoTests", ...reporters, ...filter];
  return { name, command: "node_modules/.bin/vitest", args, cwd: ".", file, read: readVitest };
}

function pytest(interpreter: string): Runner {
  const file = join(scratch, "pytest.xml");
  const args = ["-m", "pytest", "-p", "no:cacheprovider", `--junitxml=${file}`];
  return { name: "python", command: interpreter, args, cwd: "python", file, read: readJunit };
}

async function runInTurn(runners: readonly Runner[]): Promise<Tally[]> {
  const tallies: Tally[] = [];
  for (const runner of runners) tallies.push(await run(runner));
  return tallies;
}

async function run({ name, command, args, cwd, file, read }: Runner): Promise<Tally> {
  const child = spawn(command, args, {
    cwd,
    env: { ...env, LATENTCAST_TALLY: file },
    stdio: ["ignore", "pipe", "pipe"],
  });
  for (const output of [child.stdout, child.stderr]) prefixLines(output, name.padEnd(9));
  const [status] = (await once(child, "close")) as [number | null];
  let tally: Tally;
  try {
    tally = read(readFileSync(file, "utf8"));
  } catch {
    return {
      passed: 0,
      failed: [{ name: command, message: `wrote no tally, exit status ${status}` }],
      skipped: [],
      flaky: [],
    };
  }
  // A runner that fails without a failed test (an unhandled rejection, a hook) has failed all the same.
  if (status !== 0 && tally.failed.length === 0)
    tally.failed.push({ name: command, message: `ended with exit status ${status} although no test failed` });
  return tally;
}

function prefixLines(output: Readable, prefix: string): void {
  createInterface(output).on("line", (line) => console.log(`${prefix} | ${line}`));
}

function readVitest(text: string): Tally {
  // Written by our own reporter in the run that has just ended.
  return JSON.parse(text) as Tally;
}
