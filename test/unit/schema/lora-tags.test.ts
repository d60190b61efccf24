import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readLoraTags } from "../../../src/schema/lora-tags.ts";

describe("tags of LoRAs in a prompt", () => {
  it.each([
    ["a cat", "a cat", []],
    ["<lora:ink:0.8>", "", [{ path: "ink", scale: 0.8 }]],
    [
      "a <lora:ink>cat<lora: styles/oil paint :-1.5>",
      "a cat",
      [
        { path: "ink", scale: 1 },
        { path: "styles/oil paint", scale: -1.5 },
      ],
    ],
    ["(a <lora:ink:.5>:1.2)", "(a :1.2)", [{ path: "ink", scale: 0.5 }]],
    [
      "<lora:>, <lora::1>, <Lora:ink>, < lora:ink>, <hypernet:x:1>, a < b > c",
      "<lora:>, <lora::1>, <Lora:ink>, < lora:ink>, <hypernet:x:1>, a < b > c",
      [],
    ],
  ])("%j are read and taken out", (prompt, text, loras) => {
    expect(readLoraTags(prompt)).toEqual({ text, loras, wrong: [] });
  });

  it.each(["<lora:ink:>", "<lora:ink:strong>", "<lora:ink:11>", "<lora:ink:1:2>", "<lora:ink:Infinity>"])(
    "%s has no scale that can be used",
    (tag) => {
      expect(readLoraTags(`a ${tag}`)).toEqual({ text: "a ", loras: [], wrong: [tag] });
    },
  );

  it("leave a prompt without them as it is", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        fc.pre(!text.includes("<lora:"));
        expect(readLoraTags(text)).toEqual({ text, loras: [], wrong: [] });
      }),
    );
  });
});
