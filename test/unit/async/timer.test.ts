import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { after, pause } from "../../../src/async/timer.ts";

const DAY_MS = 86_400_000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("a timer", () => {
  it.each([0, 1_000, 24 * DAY_MS, 25 * DAY_MS, 365 * DAY_MS])("of %d ms fires once, then and not before", (ms) => {
    const fired = vi.fn<() => void>();
    after(ms, fired);
    if (ms > 0) vi.advanceTimersByTime(ms - 1);
    expect(fired).toHaveBeenCalledTimes(0);
    vi.advanceTimersByTime(1);
    expect(fired).toHaveBeenCalledTimes(1);
    vi.advanceTimersByTime(DAY_MS);
    expect(fired).toHaveBeenCalledTimes(1);
  });

  it("that is cancelled never fires, also when it is longer than Node's own", () => {
    const fired = vi.fn<() => void>();
    const timer = after(100 * DAY_MS, fired);
    vi.advanceTimersByTime(50 * DAY_MS);
    timer.cancel();
    vi.advanceTimersByTime(365 * DAY_MS);
    expect(fired).not.toHaveBeenCalled();
  });

  it("of Infinity never fires", () => {
    after(Number.POSITIVE_INFINITY, () => undefined);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("a pause", () => {
  it("ends at once when its signal fires, and leaves no timer behind", async () => {
    const stop = new AbortController();
    const paused = pause(DAY_MS, stop.signal);
    stop.abort();
    await paused;
    expect(vi.getTimerCount()).toBe(0);
    await pause(DAY_MS, stop.signal);
  });
});
