import { describe, expect, it } from "vitest";
import { deriveStatus } from "../../../src/jobs/status.ts";
import { INITIAL_STATE, nextSlotState, type SlotState } from "../../../src/worker/slot-state.ts";
import { workerInfo } from "../../support/builders.ts";

const ready = nextSlotState(INITIAL_STATE, { kind: "ready", info: workerInfo() });
const loading = nextSlotState(INITIAL_STATE, {
  kind: "loading",
  loading: { stage: "weights", progress: 0.5, detail: null },
});
const failed = nextSlotState(INITIAL_STATE, {
  kind: "died",
  nowMs: 0,
  failure: { code: "model_not_found", message: "no model", isPermanent: true },
});

describe("the service", () => {
  it.each<[string, SlotState[], number, object]>([
    ["loads while no worker is ready", [loading], 0, { kind: "loading", loading: { stage: "weights" } }],
    ["loads while one of several can still start", [failed, loading], 0, { kind: "loading" }],
    ["is ready with one worker", [failed, ready], 0, { kind: "ready" }],
    ["is busy while jobs wait", [ready, loading], 1, { kind: "busy" }],
    ["has failed when no worker can start, and says why", [failed, failed], 1, { kind: "failed", reason: "no model" }],
  ])("%s", (_, slots, waiting, status) => {
    expect(deriveStatus({ slots, waiting, phase: "open" })).toMatchObject(status);
  });

  it.each(["draining", "closed"] as const)("drains when it is %s, whatever its workers do", (phase) => {
    for (const slot of [ready, loading, failed]) {
      expect(deriveStatus({ slots: [slot], waiting: 1, phase })).toEqual({ kind: "draining" });
    }
  });
});
