import { describe, expect, it } from "vitest";
import { resolveModel, describeLoading } from "../../../src/playground/models.ts";
import type { Model, Models, OfferedModel } from "../../../src/playground/service.ts";

const served = (id: string, changed: Partial<OfferedModel> = {}): OfferedModel => ({
  model: { id } as Model,
  isLoaded: true,
  problem: "",
  ...changed,
});
const ONE: Models = { served: [served("small")], unserved: [] };
const TWO: Models = {
  served: [served("small"), served("large")],
  unserved: [{ id: "torn", problem: "torn is a GGUF file." }],
};

describe("the model of the next picture", () => {
  it.each([
    ["the one that is named", "large", TWO, "large"],
    ["the first where none is named", "", TWO, "small"],
    ["left to a server that has one, and that one is named", "small", ONE, ""],
    ["left to a server that has one, and none is named", "", ONE, ""],
  ])("is %s", (_name, named, models, name) => {
    expect(resolveModel(named, models)).toMatchObject({ name, remark: "" });
  });

  it.each([
    ["pony", TWO, "small", "This server does not have the model pony. small is used instead."],
    ["pony", ONE, "", "This server does not have the model pony. small is used instead."],
    ["torn", TWO, "small", "This server cannot load the model torn: torn is a GGUF file. small is used instead."],
  ])(
    "is the first where the server lacks the one that is named, and the page says so: %s",
    (named, models, ...said) => {
      const [name, remark] = said;
      expect(resolveModel(named, models)).toMatchObject({ served: models.served[0], name, remark });
    },
  );

  it("is named where the others cannot be served: the server still asks for a name that is right", () => {
    expect(resolveModel("", { ...ONE, unserved: TWO.unserved })?.name).toBe("small");
  });

  it("is none before the server has one", () => {
    expect(resolveModel("small", { served: [], unserved: TWO.unserved })).toBeUndefined();
  });
});

describe("what is said of a model", () => {
  it.each([
    ["nothing while it is loaded", {}, ""],
    ["that its first picture waits for it", { isLoaded: false }, "Not loaded now: its first picture takes longer."],
    [
      "why it could not be loaded",
      { isLoaded: false, problem: "no memory" },
      "It could not be loaded the last time: no memory",
    ],
  ])("is %s", (_name, changed, said) => {
    expect(describeLoading(served("large", changed))).toBe(said);
  });
});
