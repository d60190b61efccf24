import { describe, expect, it } from "vitest";
import { Watchdog } from "../../../src/worker/watchdog.ts";

function silentFor(watchdog: Watchdog, fromMs: number, ms: number): boolean {
  let stalled = false;
  for (let now = fromMs; now <= fromMs + ms; now += 100) stalled = watchdog.isStalled(now, 100);
  return stalled;
}

describe("the watchdog", () => {
  it("barks after the minimum silence and not before", () => {
    expect(silentFor(new Watchdog(1_000, 0), 0, 1_000)).toBe(false);
    expect(silentFor(new Watchdog(1_000, 0), 0, 1_100)).toBe(true);
  });

  it("gives a slow model ten median steps", () => {
    const watchdog = new Watchdog(1_000, 0);
    for (const seconds of [0.5, 0.5, 0.5, 9]) watchdog.step(seconds, 0);
    expect(watchdog.limitMs).toBe(5_000);
    expect(silentFor(watchdog, 0, 4_900)).toBe(false);
    expect(silentFor(watchdog, 5_000, 200)).toBe(true);
  });

  it("is quiet while there are signs of life", () => {
    const watchdog = new Watchdog(1_000, 0);
    for (let now = 0; now < 10_000; now += 100) {
      if (now % 500 === 0) watchdog.sign(now);
      expect(watchdog.isStalled(now, 100)).toBe(false);
    }
  });

  it("does not blame the worker for a time in which this process stood still", () => {
    const watchdog = new Watchdog(1_000, 0);
    expect(watchdog.isStalled(100, 100)).toBe(false);
    expect(watchdog.isStalled(3_600_000, 100)).toBe(false);
    expect(silentFor(watchdog, 3_600_100, 1_100)).toBe(true);
  });
});
