import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { deferred } from "../../../src/async/deferred.ts";
import { withLock, type LockTimes } from "../../../src/python/environment-lock.ts";
import { eventually } from "../../support/eventually.ts";

const QUICK: LockTimes = { heartbeatMs: 20, staleAfterMs: 200, pollMs: 5, settleMs: 30 };

let directory: string;
let lock: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "latentcast-lock-"));
  lock = join(directory, ".venv.lock");
});
afterEach(() => rm(directory, { recursive: true, force: true }));

/** A process id that was just in use and is not any more. */
function deadPid(): number {
  return spawnSync("true").pid;
}

function holder(overrides: object): string {
  return JSON.stringify({ pid: deadPid(), host: hostname(), token: "old", ...overrides });
}

/** Runs `count` holders at once and tells how many were inside together at most. */
async function mostAtOnce(count: number): Promise<number> {
  let inside = 0;
  let most = 0;
  const work = async (): Promise<void> => {
    inside += 1;
    most = Math.max(most, inside);
    await new Promise((resolve) => setTimeout(resolve, 15));
    inside -= 1;
  };
  await Promise.all(Array.from({ length: count }, () => withLock(lock, { times: QUICK }, work)));
  return most;
}

describe("withLock", () => {
  it("lets one in at a time and leaves no file behind", async () => {
    expect(await mostAtOnce(5)).toBe(1);
    expect(existsSync(lock)).toBe(false);
  });

  it("takes over from a process that is dead, and only one of several does at a time", async () => {
    await writeFile(lock, holder({}));
    expect(await mostAtOnce(4)).toBe(1);
  });

  it("takes over from another host that shows no life", async () => {
    await writeFile(lock, holder({ host: "elsewhere" }));
    expect(await withLock(lock, { times: QUICK }, () => Promise.resolve("in"))).toBe("in");
  });

  it("takes over a file that its writer never finished", async () => {
    await writeFile(lock, "");
    expect(await withLock(lock, { times: QUICK }, () => Promise.resolve("in"))).toBe("in");
  });

  it("waits for a living process for as long as it takes, and says once for whom", async () => {
    const waitedFor: (number | null)[] = [];
    const [work, begun] = [deferred<void>(), deferred<void>()];
    const first = withLock(lock, { times: QUICK }, () => {
      begun.resolve();
      return work.promise;
    });
    // On a busy machine the second might have the lock first.
    await begun.promise;
    const second = withLock(lock, { times: QUICK, onWait: (pid) => waitedFor.push(pid) }, () => Promise.resolve());
    await eventually(() => expect(waitedFor).toEqual([process.pid]));
    await new Promise((resolve) => setTimeout(resolve, 3 * QUICK.staleAfterMs));
    expect(waitedFor).toEqual([process.pid]);
    work.resolve();
    await Promise.all([first, second]);
  });

  it("stops waiting when aborted, and leaves the other's lock alone", async () => {
    const text = holder({ pid: process.pid, token: "other" });
    await writeFile(lock, text);
    const abort = new AbortController();
    const waiting = withLock(
      lock,
      { times: { ...QUICK, staleAfterMs: 60_000 }, signal: abort.signal, onWait: () => abort.abort() },
      () => Promise.resolve(),
    );
    await expect(waiting).rejects.toMatchObject({ code: "interrupted" });
    expect(await readFile(lock, "utf8")).toBe(text);
  });

  it("is free again after the work has failed", async () => {
    const failing = withLock(lock, { times: QUICK }, () => Promise.reject(new Error("no")));
    await expect(failing).rejects.toThrow("no");
    expect(existsSync(lock)).toBe(false);
  });
});
