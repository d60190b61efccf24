import { describe, expect, it } from "vitest";
import { stallLimitMs, Watchdog } from "../../../src/worker/watchdog.ts";

const LIMIT_MS = 1_000;

function silentFor(watchdog: Watchdog, fromMs: number, ms: number): boolean {
  let stalled = false;
  for (let now = fromMs; now <= fromMs + ms; now += 100) stalled = watchdog.isStalled(now, 100, LIMIT_MS);
  return stalled;
}

describe("the watchdog", () => {
  it("barks after the limit and not before", () => {
    expect(silentFor(new Watchdog(0), 0, 1_000)).toBe(false);
    expect(silentFor(new Watchdog(0), 0, 1_100)).toBe(true);
  });

  it("is quiet while there are signs of life", () => {
    const watchdog = new Watchdog(0);
    for (let now = 0; now < 10_000; now += 100) {
      if (now % 500 === 0) watchdog.sign(now);
      expect(watchdog.isStalled(now, 100, LIMIT_MS)).toBe(false);
    }
  });

  it("does not blame the worker for a time in which this process stood still", () => {
    const watchdog = new Watchdog(0);
    expect(watchdog.isStalled(100, 100, LIMIT_MS)).toBe(false);
    expect(watchdog.isStalled(3_600_000, 100, LIMIT_MS)).toBe(false);
    expect(silentFor(watchdog, 3_600_100, 1_100)).toBe(true);
  });
});

describe("the limit of silence", () => {
  const limits = { minimumMs: 30_000, unknownMs: 1_800_000 };

  it("is thirty times a step of the size of the work, and at least the setting", () => {
    expect(stallLimitMs(limits, { seconds: 70 })).toBe(2_100_000);
    expect(stallLimitMs(limits, { seconds: 0.05 })).toBe(30_000);
  });

  it("is at least what the work may take in any case", () => {
    expect(stallLimitMs(limits, { seconds: 0.05, atLeastSeconds: 600 })).toBe(600_000);
    expect(stallLimitMs(limits, { seconds: 70, atLeastSeconds: 600 })).toBe(2_100_000);
  });

  it("is generous while nothing has been measured", () => {
    expect(stallLimitMs(limits, { seconds: null })).toBe(1_800_000);
  });
});
