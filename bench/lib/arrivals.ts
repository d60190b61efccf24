/** When jobs come: the same times in every arm of a comparison. */
import { setTimeout as pause } from "node:timers/promises";
import { monotonicSeconds } from "./servers.ts";

export interface Arrivals {
  readonly jobs: number;
  readonly perSecond: number;
  /** Jobs that come at one moment. */
  readonly burst?: number;
}

/** Calls `submit` for each job when it comes. Times between arrivals are exponential. Resolves when all have ended. */
export async function arrive<Result>(
  { jobs, perSecond, burst = 1 }: Arrivals,
  submit: () => Promise<Result>,
): Promise<Result[]> {
  const random = seeded(1);
  const running: Promise<Result>[] = [];
  let next = monotonicSeconds();
  while (running.length < jobs) {
    next -= (Math.log(1 - random()) * burst) / perSecond;
    await pause(Math.max(0, (next - monotonicSeconds()) * 1_000));
    for (let job = 0; job < burst && running.length < jobs; job += 1) running.push(submit());
  }
  return Promise.all(running);
}

/** Numbers from 0 to 1 that are the same each time (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
