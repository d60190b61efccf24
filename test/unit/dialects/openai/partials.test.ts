import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planPartials } from "../../../../src/dialects/openai/partials.ts";

describe("partial images", () => {
  it.each([
    [1, 20, [9]],
    [2, 20, [0, 10]],
    [3, 20, [0, 7, 14]],
    [3, 6, [0, 2, 4]],
    [3, 4, [0, 1, 2]],
    [3, 2, [0, 1]],
    [1, 2, [0]],
    [1, 1, [0]],
  ])("%i in %i steps come after the steps %j", (count, steps, expected) => {
    expect(planPartials(count, steps).steps).toEqual(expected);
  });

  it("are as many as asked for where there are as many steps, and never more", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 50 }), (count, total) => {
        const { steps } = planPartials(count, total);
        expect(steps).toHaveLength(Math.min(count, total));
      }),
    );
  });

  it("are among those that the engine makes, in order", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 50 }), (count, total) => {
        const { every, steps } = planPartials(count, total);
        expect(steps.every((step) => step % every === 0 && step < total)).toBe(true);
        expect(steps.toSorted((a, b) => a - b)).toEqual(steps);
      }),
    );
  });
});
