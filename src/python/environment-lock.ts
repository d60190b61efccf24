/** One set-up at a time: a lock file that outlives no crash. */
import { randomUUID } from "node:crypto";
import { readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { throwIfAborted } from "./command.ts";

const lockHolder = z.object({ pid: z.int(), host: z.string(), token: z.string() });
type LockHolder = z.infer<typeof lockHolder>;

export interface LockTimes {
  /** How often the holder shows that it lives. */
  readonly heartbeatMs: number;
  /** A holder on another machine or in another container that shows no life for this long is dead. */
  readonly staleAfterMs: number;
  readonly pollMs: number;
  /** After taking over a dead holder's lock: two that try at once have both written by then, and the last one wins. */
  readonly settleMs: number;
}

const TIMES: LockTimes = { heartbeatMs: 2_000, staleAfterMs: 30_000, pollMs: 200, settleMs: 250 };

export interface LockOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called once when another process holds the lock. The pid is null when it is on another machine. */
  readonly onWait?: (pid: number | null) => void;
  readonly times?: LockTimes;
}

/** Runs `work` while holding the lock; waits for as long as a living process holds it. */
export async function withLock<Value>(path: string, options: LockOptions, work: () => Promise<Value>): Promise<Value> {
  const times = options.times ?? TIMES;
  const token = await acquire(path, options, times);
  // A heartbeat that fails (full disk, folder removed) costs the lock's protection, never the set-up.
  const heartbeat = setInterval(
    () => void utimes(path, new Date(), new Date()).catch(() => undefined),
    times.heartbeatMs,
  );
  try {
    return await work();
  } finally {
    clearInterval(heartbeat);
    if ((await readHolder(path))?.token === token) await rm(path, { force: true });
  }
}

async function acquire(path: string, { signal, onWait }: LockOptions, times: LockTimes): Promise<string> {
  const token = randomUUID();
  const mine = JSON.stringify({ pid: process.pid, host: hostname(), token } satisfies LockHolder);
  let seen = "";
  let seenSince = performance.now();
  let hasWaited = false;
  for (;;) {
    throwIfAborted(signal);
    if (await createFile(path, mine)) return token;
    const holder = await readHolder(path);
    const life = `${holder?.token ?? ""} ${await modifiedAt(path)}`;
    if (life !== seen) {
      seen = life;
      seenSince = performance.now();
    }
    if ((holder !== null && isDead(holder)) || performance.now() - seenSince > times.staleAfterMs) {
      const temporary = `${path}.${token}`;
      await writeFile(temporary, mine);
      await rename(temporary, path);
      await delay(times.settleMs);
      if ((await readHolder(path))?.token === token) return token;
      continue;
    }
    if (!hasWaited && holder !== null) {
      hasWaited = true;
      onWait?.(holder.host === hostname() ? holder.pid : null);
    }
    await delay(times.pollMs);
  }
}

async function createFile(path: string, text: string): Promise<boolean> {
  try {
    await writeFile(path, text, { flag: "wx" });
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
    throw error;
  }
}

/** Null when there is no lock, or one whose writer has not finished writing it. */
async function readHolder(path: string): Promise<LockHolder | null> {
  try {
    return lockHolder.parse(JSON.parse(await readFile(path, "utf8")));
  } catch {
    return null;
  }
}

async function modifiedAt(path: string): Promise<number> {
  try {
    return (await stat(path)).mtimeMs;
  } catch {
    return 0;
  }
}

function isDead({ pid, host }: LockHolder): boolean {
  if (host !== hostname()) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    // EPERM: it lives and belongs to somebody else.
    return error instanceof Error && "code" in error && error.code === "ESRCH";
  }
}
