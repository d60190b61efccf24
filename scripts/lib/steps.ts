/** Runs commands side by side and tells how each ended; the output of those that fail is shown whole. */
import { spawn } from "node:child_process";

export interface Step {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  /** Added to this process's own. */
  readonly env?: Readonly<Record<string, string>>;
}

/** The small machines that run the checks have two cores, and most of the steps use one. */
const PARALLEL = 2;

/** Names of the steps that failed. */
export async function runSteps(steps: readonly Step[]): Promise<string[]> {
  const waiting = [...steps];
  const failed: string[] = [];
  const lane = async (): Promise<void> => {
    for (let step = waiting.shift(); step !== undefined; step = waiting.shift()) {
      const startedAt = performance.now();
      const { code, output } = await capture(step);
      const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
      console.log(`${code === 0 ? "ok  " : "FAIL"}  ${step.name.padEnd(14)} ${seconds} s`);
      if (code === 0) continue;
      failed.push(step.name);
      console.log(output.replace(/^/gm, "      "));
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, lane));
  return failed;
}

function capture({ command, env }: Step): Promise<{ readonly code: number | null; readonly output: string }> {
  const [file, ...args] = command;
  return new Promise((resolve) => {
    const child = spawn(file, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
    const chunks: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.once("error", (error) => resolve({ code: null, output: error.message }));
    child.once("close", (code) => resolve({ code, output: Buffer.concat(chunks).toString() }));
  });
}
