import { describe, expect, it } from "vitest";
import { z } from "zod";
import { parseObject } from "../../../src/schema/parse.ts";

const schema = z.object({
  name: z.string().min(1),
  size: z.union([z.enum(["small", "large"]), z.object({ width: z.int().min(8) })]).optional(),
});

function problems(body: unknown): readonly object[] {
  const parsed = parseObject(schema, body);
  return parsed.ok ? expect.unreachable("it was taken") : parsed.problems;
}

describe("a problem with the input", () => {
  it("has the path of its field below `body`, a text and a type", () => {
    expect(problems({ name: "" })).toEqual([{ loc: ["body", "name"], msg: expect.any(String), type: "too_small" }]);
  });

  it.each([undefined, null, {}])("of the body %j is that the field is missing", (body) => {
    expect(problems(body)).toEqual([{ loc: ["body", "name"], msg: "Field required", type: "missing" }]);
  });

  it("of a body that is not an object is about the body", () => {
    expect(problems("text")).toMatchObject([{ loc: ["body"] }]);
  });

  it("within a union is that of the alternative which fits best", () => {
    expect(problems({ name: "x", size: { width: 1 } })).toMatchObject([
      { loc: ["body", "size", "width"], type: "too_small" },
    ]);
    expect(problems({ name: "x", size: 5 })).toMatchObject([{ loc: ["body", "size"], type: "invalid_union" }]);
  });
});

describe("unknown fields", () => {
  it("are left out and named in warnings", () => {
    expect(parseObject(schema, { name: "x", nme: "y" })).toEqual({
      ok: true,
      input: { name: "x" },
      warnings: ['unknown field "nme" was ignored'],
    });
  });

  it("beyond ten are counted, and long names are cut", () => {
    const names = Array.from({ length: 1_000 }, (_, index) => `${"x".repeat(100)}${index}`);
    const parsed = parseObject(schema, { name: "x", ...Object.fromEntries(names.map((name) => [name, 1])) });
    const { warnings } = parsed.ok ? parsed : expect.unreachable("it was refused");
    expect(warnings).toHaveLength(11);
    expect(warnings.at(-1)).toContain("990");
    expect(Math.max(...warnings.map(({ length }) => length))).toBeLessThan(110);
  });
});
