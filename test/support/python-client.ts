/** A Python client in a process of its own, which does what a test asks for and says what it saw. */
import { spawn, type ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { deferred, type Deferred } from "../../src/async/deferred.ts";
import { testPython } from "./server.ts";

type Variables = Readonly<Record<string, string>>;

/** `Observed` says what each check of the program returns. */
export class PythonClient<Observed> implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #waiting = new Map<number, Deferred<Observed>>();
  #asked = 0;

  /**
   * @param program In `test/fixtures`; it serves checks by `checks.py`.
   * @param env What it has to know before its first check.
   */
  constructor(program: string, env: Variables = {}) {
    const file = fileURLToPath(new URL(`../fixtures/${program}`, import.meta.url));
    this.#child = spawn(testPython(), [file], {
      env: { PATH: process.env["PATH"], ...env },
      stdio: ["pipe", "pipe", "inherit"],
    });
    createInterface(this.#child.stdout).on("line", (line) => this.#take(line));
    this.#child.once("close", () => {
      for (const { reject } of this.#waiting.values()) reject(new Error("the client's process has ended"));
    });
  }

  /** What these checks saw, one after the other. Rejects with Python's traceback where one raised. */
  see(names: readonly (keyof Observed)[], env: Variables = {}): Promise<Observed> {
    this.#asked += 1;
    this.#child.stdin.write(`${JSON.stringify({ id: this.#asked, checks: names, env })}\n`);
    const waiting = deferred<Observed>();
    this.#waiting.set(this.#asked, waiting);
    return waiting.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#child, "close");
    this.#child.kill();
    await closed;
  }

  #take(line: string): void {
    // The program prints what the interface says, for the checks that were asked.
    const { id, seen, failed } = JSON.parse(line) as { id: number; seen: Observed; failed?: string };
    const waiting = this.#waiting.get(id);
    if (failed === undefined) waiting?.resolve(seen);
    else waiting?.reject(new Error(failed));
  }
}
