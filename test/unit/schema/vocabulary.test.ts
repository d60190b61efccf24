import { describe, expect, it } from "vitest";
import { understand, unknownPromptWarning } from "../../../src/schema/vocabulary.ts";

const vocabulary = {
  summary: "landscapes",
  subjects: ["sea", "boat", "northern lights", "lights", "alps"],
  modifiers: ["red", "left"],
};

describe("what a model understands of a prompt", () => {
  it.each([
    ["A red BOAT on the sea", ["red", "boat", "sea"], true],
    ["northern lights, boat; boat", ["northern lights", "boat"], true],
    ["city lights", ["lights"], true],
    ["a red cat on the left", ["red", "left"], false],
    ["seaside, reds, boats", [], false],
    ["", [], false],
  ])("%j: %j", (prompt, words, hasSubject) => {
    expect(understand(prompt, vocabulary)).toEqual({ words, hasSubject });
  });

  it("leads to a warning when it is nothing", () => {
    expect(unknownPromptWarning("a red cat", vocabulary)).toContain("paints landscapes");
    expect(unknownPromptWarning("a red boat", vocabulary)).toBeUndefined();
  });
});
