import { describe, expect, it } from "vitest";
import { isSameShape, middleOf, requestSize, within } from "../../../src/playground/input-image/shape.ts";
import { describeStrength } from "../../../src/playground/input-image/strength.ts";

describe("the part of an image that is used", () => {
  it.each([
    ["a wide one for a square", { width: 400, height: 200 }, { width: 64, height: 64 }, [100, 0, 200, 200]],
    ["a square for a tall one", { width: 90, height: 90 }, { width: 64, height: 96 }, [15, 0, 60, 90]],
    ["one of the same shape", { width: 30, height: 20 }, { width: 300, height: 200 }, [0, 0, 30, 20]],
  ])("is its middle: %s", (_name, image, target, [x, y, width, height]) => {
    expect(middleOf(image, target)).toEqual({ x, y, width, height });
  });

  it("is all of it where the shapes differ by a rounded side only", () => {
    expect(isSameShape({ width: 1216, height: 832 }, { width: 608, height: 416 })).toBe(true);
    expect(isSameShape({ width: 1200, height: 832 }, { width: 608, height: 416 })).toBe(false);
  });
});

describe("sizes", () => {
  it("keep their shape where the longer side is bounded, and are never enlarged", () => {
    expect(within({ width: 4000, height: 3000 }, 2048)).toEqual({ width: 2048, height: 1536 });
    expect(within({ width: 40, height: 30 }, 2048)).toEqual({ width: 40, height: 30 });
    expect(within({ width: 100_000, height: 1 }, 2048)).toEqual({ width: 2048, height: 1 });
  });

  it.each(["", "x", "0", "-64", "64.5", "2056"])("of a request are none with a side of %j", (width) => {
    expect(requestSize({ width, height: "64" })).toBeUndefined();
  });
});

describe("the words for a strength", () => {
  // 50 at 0.58 are 28 in floats, by the server's rule.
  it.each([
    ["0.58", 50, "28 of 50 steps run."],
    ["1", 20, "20 of 20 steps run."],
    ["0.04", 20, "No step would run. The least is 0.05."],
    ["0.1", 3, "No step would run. The least is 0.334."],
    ["0.5", Number.NaN, "details."],
  ])("count the steps that run: %s of %i", (strength, steps, end) => {
    expect(describeStrength(strength, steps, false).endsWith(end)).toBe(true);
  });

  it("are none for what is not a strength", () => {
    expect(describeStrength("much", 20, false)).toBe("");
  });
});
