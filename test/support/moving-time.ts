/** Timers and `performance` of vitest, for a file or a suite: time goes on by itself, and faster where a test says so. */
import { afterEach, beforeEach, vi } from "vitest";

/** @param stepMs How often, in real milliseconds, and by how much the time goes on. */
export function useMovingTime(stepMs = 5): void {
  beforeEach(() => {
    vi.useFakeTimers({
      toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "performance"],
      shouldAdvanceTime: true,
      advanceTimeDelta: stepMs,
    });
  });
  afterEach(() => {
    vi.useRealTimers();
  });
}
