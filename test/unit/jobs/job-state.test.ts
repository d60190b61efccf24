import fc from "fast-check";
import { expect, it } from "vitest";
import { LatentcastError } from "../../../src/errors.ts";
import { isTerminal } from "../../../src/jobs/events.ts";
import { nextJobState, type JobState } from "../../../src/jobs/job-state.ts";
import { jobRequest } from "../../support/builders.ts";

const request = jobRequest();
const resolved = { kind: "resolved", request } as const;
const started = { kind: "started", totalSteps: 4 } as const;
const stepped = { kind: "stepped", step: 0 } as const;
const returned = { kind: "returned" } as const;
const cancelled = { kind: "cancelled", reason: "client_gone" } as const;
const failed = { kind: "failed", error: new LatentcastError("internal_error") } as const;

type Change = Parameters<typeof nextJobState>[1];

function after(...changes: readonly Change[]): JobState {
  return changes.reduce<JobState>(nextJobState, { kind: "pending" });
}

it("a job is pending, queued, running, and ends", () => {
  expect(after(resolved)).toEqual({ kind: "queued", request });
  expect(after(resolved, started)).toEqual({ kind: "running", request, step: null, totalSteps: 4 });
  expect(after(resolved, started, stepped)).toMatchObject({ kind: "running", step: 0 });
  expect(after(resolved, started, failed)).toBe(failed);
});

it("a job whose worker died is queued again with the same request", () => {
  expect(after(resolved, started, stepped, returned)).toEqual({ kind: "queued", request });
});

it.each<[string, Change[]]>([
  ["started before it was resolved", [started]],
  ["resolved twice", [resolved, resolved]],
  ["stepped before it was started", [resolved, stepped]],
  ["returned by a worker that did not have it", [resolved, returned]],
])("a job that is %s stays as it was", (_, changes) => {
  expect(after(...changes)).toEqual(after(...changes.slice(0, -1)));
});

it("a job that has ended never changes again, whatever comes", () => {
  const change = fc.constantFrom<Change>(resolved, started, stepped, returned, cancelled, failed);
  fc.assert(
    fc.property(fc.array(change, { maxLength: 20 }), (changes) => {
      let state: JobState = { kind: "pending" };
      for (const next of changes) {
        const previous: JobState = state;
        state = nextJobState(previous, next);
        expect(isTerminal(previous) && state !== previous).toBe(false);
      }
    }),
  );
});
