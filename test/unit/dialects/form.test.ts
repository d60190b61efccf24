import { describe, expect, it } from "vitest";
import { MultipartForm } from "../../../src/dialects/form.ts";

const file = (text: string): Buffer => Buffer.from(text);
const form = new MultipartForm([
  { name: "b", value: file("1") },
  { name: "n", value: "1" },
  { name: "a", value: file("2") },
  { name: "n", value: "2" },
  { name: "a", value: "text" },
  { name: "__proto__", value: "own" },
  { name: "b", value: file("3") },
]);

describe("a form", () => {
  it("has the files of several names in the order in which they came", () => {
    expect(form.files("a", "b").map(String)).toEqual(["1", "2", "3"]);
    expect(form.files("none")).toEqual([]);
  });

  it("has all other parts by name, as a list where a name came twice", () => {
    const fields = form.fieldsBeside("b");
    expect(Object.entries(fields)).toEqual([
      ["n", ["1", "2"]],
      ["a", [file("2"), "text"]],
      ["__proto__", "own"],
    ]);
    expect(Object.getPrototypeOf(fields)).toBe(Object.prototype);
  });

  it("does not take a text for a file of the same name", () => {
    expect(form.fieldsBeside("a", "b")).toMatchObject({ a: "text" });
  });
});
