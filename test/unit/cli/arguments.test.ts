import { describe, expect, it } from "vitest";
import { readArguments, suggest, type FlagTable } from "../../../src/cli/arguments.ts";

const FLAGS: FlagTable = {
  output: { short: "o", value: "FILE", help: "" },
  seed: { value: "N", help: "" },
  json: { help: "" },
};

describe("readArguments", () => {
  it("separates values, switches and positionals, in any order", () => {
    const read = readArguments(["a prompt", "--seed=3", "--json", "-o", "out.png", "more"], FLAGS);
    expect(read.values).toEqual({ seed: "3", output: "out.png" });
    expect([...read.switches]).toEqual(["json"]);
    expect(read.positionals).toEqual(["a prompt", "more"]);
  });

  it("takes everything after -- as it is", () => {
    expect(readArguments(["--", "--seed"], FLAGS).positionals).toEqual(["--seed"]);
  });

  it("keeps all values of a flag that may be repeated, a line each, and the last of any other", () => {
    const flags = { ...FLAGS, model: { value: "VALUE", isRepeatable: true, help: "" } } satisfies FlagTable;
    const read = readArguments(["--model", "a", "--seed", "1", "--model=b,c", "--seed", "2"], flags);
    expect(read.values).toEqual({ model: "a\nb,c", seed: "2" });
    expect(readArguments(["--model", "a"], flags).values["model"]).toBe("a");
    expect(readArguments(["--model", "a,b"], flags).values["model"]).toBe("\na,b");
  });

  it("leaves the commas of a flag that is given once as they are", () => {
    expect(readArguments(["--output", "a, b.png"], FLAGS).values["output"]).toBe("a, b.png");
  });

  it("takes a negative number as a value", () => {
    expect(readArguments(["--seed", "-1"], FLAGS).values["seed"]).toBe("-1");
  });

  it.each([
    [["--sede", "3"], "unknown flag --sede; did you mean --seed?"],
    [["--colour"], "unknown flag --colour; --help lists them"],
    [["-x"], "unknown flag -x; --help lists them"],
    [["--seed"], "--seed needs a value: --seed N"],
    [["--seed", "--json"], "--seed needs a value: --seed N"],
    [["--json=yes"], "--json takes no value"],
  ])("says what is wrong with %j", (args, message) => {
    expect(() => readArguments(args, FLAGS)).toThrow(message);
  });
});

describe("suggest", () => {
  it.each([
    ["serv", "serve"],
    ["serev", "serve"],
    ["genrate", "generate"],
    ["doctro", "doctor"],
  ])("finds behind %s the word %s", (word, expected) => {
    expect(suggest(word, ["serve", "generate", "setup", "doctor"])).toBe(expected);
  });

  it("suggests nothing when nothing is close", () => {
    expect(suggest("paint", ["serve", "generate", "setup", "doctor"])).toBeUndefined();
    expect(suggest("xy", ["ab"])).toBeUndefined();
  });
});
