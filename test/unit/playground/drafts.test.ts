import { describe, expect, it } from "vitest";
import { Drafts, stepsToRun } from "../../../src/playground/live/drafts.ts";
import type { Values } from "../../../src/playground/values.ts";

const values = (changed: Partial<Values> = {}): Values =>
  ({ num_inference_steps: "20", model: "", image: "", strength: "", num_images: "4", runs: "2", ...changed }) as Values;

describe("a draft", () => {
  it("is one picture of few steps", () => {
    expect(new Drafts().of(values())).toMatchObject({ num_inference_steps: "4", num_images: "1", runs: "1" });
  });

  it.each([
    ["fast", 10, "20"],
    ["slow", 500, "2"],
  ])("has as many steps as a %s device makes in a fifth of a second", (_name, stepMs, steps) => {
    const drafts = new Drafts();
    drafts.measured(values({ num_inference_steps: "4" }), 4 * stepMs);
    expect(drafts.of(values()).num_inference_steps).toBe(steps);
  });

  it("is measured for each model by itself", () => {
    const drafts = new Drafts();
    drafts.measured(values({ model: "small", num_inference_steps: "4" }), 40);
    drafts.measured(values({ model: "large", num_inference_steps: "4" }), 4_000);
    const stepsOf = (model: string): string => drafts.of(values({ model })).num_inference_steps;
    expect(["small", "large", "another"].map(stepsOf)).toEqual(["20", "2", "4"]);
  });

  it("never has more steps than the form says", () => {
    expect(new Drafts().of(values({ num_inference_steps: "3" })).num_inference_steps).toBe("3");
  });

  it("of a picture counts the steps that its strength leaves", () => {
    const draft = new Drafts().of(values({ image: "1", strength: "0.5" }));
    expect(draft.num_inference_steps).toBe("8");
    expect(stepsToRun(draft)).toBe(4);
  });

  it("leaves what is no number to the server", () => {
    expect(new Drafts().of(values({ num_inference_steps: "many" })).num_inference_steps).toBe("many");
  });
});
