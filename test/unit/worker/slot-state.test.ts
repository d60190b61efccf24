import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  CRASH_WINDOW_MS,
  FIRST_BACKOFF_MS,
  INITIAL_STATE,
  MAX_BACKOFF_MS,
  MAX_CRASHES,
  nextSlotState,
  type SlotEvent,
  type SlotState,
} from "../../../src/worker/slot-state.ts";
import { workerInfo } from "../../support/builders.ts";

const ready: SlotEvent = { kind: "ready", info: workerInfo() };
const died = (nowMs: number, isPermanent = false): SlotEvent => ({
  kind: "died",
  nowMs,
  failure: { code: "exited", message: "it broke", isPermanent },
});

function after(...events: SlotEvent[]): SlotState {
  return events.reduce(nextSlotState, INITIAL_STATE);
}

describe("a slot", () => {
  it("starts, becomes ready, drains and stops", () => {
    expect(after(ready).kind).toBe("ready");
    expect(after(ready, { kind: "drain" }).kind).toBe("draining");
    expect(after(ready, { kind: "drain" }, died(1)).kind).toBe("stopped");
  });

  it("comes back after a death, as the next incarnation", () => {
    expect(after(ready, died(1_000))).toMatchObject({
      kind: "backoff",
      untilMs: 1_000 + FIRST_BACKOFF_MS,
      lastFailure: { code: "exited", message: "it broke" },
    });
    expect(after(ready, died(1_000), { kind: "retry" })).toMatchObject({ kind: "starting", incarnation: 2 });
  });

  it("waits twice as long after each further death, up to a limit", () => {
    const deaths = Array.from({ length: MAX_CRASHES }, (_, n) => [died(n), { kind: "retry" } as const]).flat();
    const waits = deaths
      .map((_, n) => after(...deaths.slice(0, n + 1)))
      .flatMap((state, n) => (state.kind === "backoff" ? [state.untilMs - n / 2] : []));
    expect(waits).toEqual([1, 2, 4, 8, 16].map((factor) => Math.min(FIRST_BACKOFF_MS * factor, MAX_BACKOFF_MS)));
  });

  it("fails after too many deaths in the window, and only then", () => {
    const deaths = Array.from({ length: MAX_CRASHES + 1 }, (_, n) => [died(n), { kind: "retry" } as const])
      .flat()
      .slice(0, -1);
    expect(after(...deaths).kind).toBe("failed");
    const spread = Array.from({ length: MAX_CRASHES + 1 }, (_, n) => [
      died(n * CRASH_WINDOW_MS),
      { kind: "retry" } as const,
    ])
      .flat()
      .slice(0, -1);
    expect(after(...spread).kind).toBe("backoff");
  });

  it("fails at once of what no retry can mend, and is tried again later all the same", () => {
    expect(after(died(0, true))).toMatchObject({ kind: "failed", lastFailure: { message: "it broke" } });
    expect(after(died(0, true), { kind: "retry" })).toMatchObject({ kind: "starting", incarnation: 2 });
  });

  it("ignores what comes in the wrong state", () => {
    expect(after(ready, { kind: "loading", loading: { stage: "late", progress: null, detail: null } }).kind).toBe(
      "ready",
    );
    expect(after(ready, { kind: "retry" }).kind).toBe("ready");
    expect(after(died(0), ready).kind).toBe("backoff");
  });

  it("never leaves `stopped`, and its incarnation never goes back", () => {
    const event = fc.oneof(
      fc.constant(ready),
      fc.constant<SlotEvent>({ kind: "retry" }),
      fc.constant<SlotEvent>({ kind: "drain" }),
      fc.constant<SlotEvent>({ kind: "stopped" }),
      fc.record({ nowMs: fc.nat(), permanent: fc.boolean() }).map(({ nowMs, permanent }) => died(nowMs, permanent)),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), (events) => {
        let state: SlotState = INITIAL_STATE;
        for (const next of events) {
          const previous: SlotState = state;
          state = nextSlotState(previous, next);
          expect(state.incarnation).toBeGreaterThanOrEqual(previous.incarnation);
          if (previous.kind === "stopped") expect(state).toBe(previous);
        }
      }),
    );
  });
});
