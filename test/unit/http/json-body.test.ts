import { describe, expect, it } from "vitest";
import fc from "fast-check";
import { readJson } from "../../../src/http/json-body.ts";

const bytes = (text: string): Buffer => Buffer.from(text);

function refusal(body: Buffer): unknown {
  try {
    return readJson(body);
  } catch (error) {
    return error;
  }
}

describe("readJson", () => {
  it("reads whatever JSON can say, as JSON.parse does", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = JSON.stringify(value);
        expect(readJson(bytes(text))).toEqual(JSON.parse(text));
      }),
    );
  });

  it("takes no bytes for no body", () => {
    expect(readJson(Buffer.alloc(0))).toBeUndefined();
  });

  it.each([
    ["one long string", JSON.stringify({ image_url: "A".repeat(20_000_000) })],
    ["a string full of structure", JSON.stringify({ prompt: "{},".repeat(1_000_000) })],
    ["a string with escapes", JSON.stringify({ prompt: '\\"'.repeat(5_000) })],
  ])("takes %s", (_, text) => {
    expect(readJson(bytes(text))).toEqual(JSON.parse(text));
  });

  it("takes a deep field", () => {
    expect(readJson(bytes(`{"a":${"[".repeat(200_000)}${"]".repeat(200_000)}}`))).toHaveProperty("a.0.0");
  });

  it.each([
    ["objects", `[${"{},".repeat(1_000_000)}{}]`],
    ["numbers", `[${"1,".repeat(1_000_000)}1]`],
    ["one number", `[${"1".repeat(2_000_000)}]`],
    ["empty strings", `[${'"",'.repeat(1_000_000)}""]`],
    ["names", `{${'"a":1,'.repeat(1_000_000)}"a":1}`],
    ["spaces", " ".repeat(2_000_000)],
    ["escaped quotes", `"${'\\"'.repeat(1_000_000)}"`],
    ["objects after a long string", `["${"x".repeat(1_000_000)}",${"{},".repeat(1_000_000)}{}]`],
  ])("refuses a million %s without making them", (_, text) => {
    expect(refusal(bytes(text))).toMatchObject({ code: "payload_too_large" });
  });

  it.each([
    ["half an object", '{"a":1'],
    ["half a string", '{"a'],
    ["a lone backslash", '"\\"'],
    ["NaN", "[NaN]"],
  ])("refuses %s as not JSON", (_, text) => {
    expect(refusal(bytes(text))).toMatchObject({ code: "bad_request" });
  });

  it("refuses bytes that are not UTF-8", () => {
    expect(refusal(Buffer.from([0x22, 0xff, 0x22]))).toMatchObject({ code: "bad_request" });
  });
});
