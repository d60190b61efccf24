/**
 * `npm test`: every test this machine can run, the TypeScript suites and then Python's, and in the end what was skipped and why.
 * With CI=true a test that was skipped although it could have run is a failure.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { devPython } from "./lib/python.ts";
import { isHere, needlesslySkipped, readJunit, type Skipped, type Tally } from "./lib/tally.ts";

const python = await devPython();
if (python === null) process.exit(1);
const scratch = mkdtempSync(join(tmpdir(), "latentcast-tests-"));
const env = { ...process.env, LATENTCAST_PYTHON: python };

const projects = ["unit", "integration", "e2e"];
const skippedSuites: Skipped[] = [];
if (isHere("Docker")) projects.push("container");
else skippedSuites.push({ name: "container suite", reason: "needs Docker" });

try {
  const tallies = [runVitest(), runPytest(python)];
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

function runVitest(): Tally {
  const file = join(scratch, "vitest.json");
  const reporters = ["--reporter=default", "--reporter=./scripts/lib/tally-reporter.ts"];
  const filter = projects.flatMap((name) => ["--project", name]);
  return run("node_modules/.bin/vitest", ["run", "--passWithNoTests", ...reporters, ...filter], ".", file, readVitest);
}

function runPytest(interpreter: string): Tally {
  const file = join(scratch, "pytest.xml");
  return run(interpreter, ["-m", "pytest", "-p", "no:cacheprovider", `--junitxml=${file}`], "python", file, readJunit);
}

function run(
  command: string,
  args: readonly string[],
  cwd: string,
  file: string,
  read: (text: string) => Tally,
): Tally {
  const { status } = spawnSync(command, args, { cwd, env: { ...env, LATENTCAST_TALLY: file }, stdio: "inherit" });
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

function readVitest(text: string): Tally {
  // Written by our own reporter in the run that has just ended.
  return JSON.parse(text) as Tally;
}
