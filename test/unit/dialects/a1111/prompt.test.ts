import { describe, expect, it } from "vitest";
import { readPrompt } from "../../../../src/dialects/a1111/prompt.ts";

describe("a prompt", () => {
  it.each(["", "a cat", "(cat:1.2), [dog]", "a BREAK b", "a < b", "[from:to]", "sand AND's", "a cat <lora:paper:0.8>"])(
    "%j is left as it is",
    (text) => {
      expect(readPrompt("prompt", text)).toMatchObject({ text });
    },
  );

  it("has no warnings for what is served", () => {
    expect(readPrompt("prompt", "(cat:1.2), [dog] BREAK a:b, BRAND").warnings).toEqual([]);
  });

  it.each([
    ["a cat <lora:paper:0.8:0.5>", "a cat", "paper"],
    ["<LoRA:paper>, a cat", ", a cat", "paper"],
    ["a <hypernet:x:1> cat", "a cat", "x"],
  ])("%j loses its networks, and says which", (prompt, text, name) => {
    expect(readPrompt("prompt", prompt)).toEqual({ text, warnings: [expect.stringContaining(`"${name}"`)] });
  });

  it("with thousands of networks names a few", () => {
    expect(readPrompt("prompt", "<hypernet:x:1>".repeat(3_000)).warnings).toHaveLength(6);
  });

  it.each(["[a:b:0.5]", "a [b|c]", "a cat AND a dog"])("%j says what is read as text", (prompt) => {
    const { text, warnings } = readPrompt("negative_prompt", prompt);
    expect(text).toBe(prompt);
    expect(warnings).toEqual([expect.stringMatching(/^negative_prompt: .* as text/)]);
  });

  it("of 10 kB is cut, between characters, and says where", () => {
    const { text, warnings } = readPrompt("prompt", `a${"😀".repeat(5_000)}`);
    expect(text).toBe(`a${"😀".repeat(2_499)}`);
    expect(warnings).toEqual(["prompt was cut after 4999 characters"]);
  });

  it.each(["[", "<lora:", "[a:", "[a|", ":", "1"])("of 100,000 %j is read at once", (unit) => {
    expect(readPrompt("prompt", `[${unit.repeat(100_000)}`).text).toHaveLength(5_000);
  });
});
