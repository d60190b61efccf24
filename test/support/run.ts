/** Programs that a reader of the documentation would run, in a process of their own. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { testPython } from "./server.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** How each kind of file is started, by the end of its name. */
const STARTS: Readonly<Record<string, () => string[]>> = {
  ts: () => [process.execPath, "--import", "tsx"],
  mjs: () => [process.execPath],
  py: () => [testPython()],
  sh: () => ["sh"],
};

/** Its standard output. Rejects, with what it said, when it fails. */
export async function runFile(
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<string> {
  const start = STARTS[file.slice(file.lastIndexOf(".") + 1)];
  if (start === undefined) throw new RangeError(`nothing runs ${file}`);
  const [program = "", ...before] = start();
  const { stdout } = await promisify(execFile)(program, [...before, file, ...args], {
    cwd: root,
    env: { PATH: process.env["PATH"], HOME: process.env["HOME"], FAL_KEY: "none", PYTHONUTF8: "1", ...env },
    maxBuffer: 2 ** 26,
  });
  return stdout;
}
