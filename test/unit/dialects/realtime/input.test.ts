import { describe, expect, it } from "vitest";
import { readInput, requestIdOf } from "../../../../src/dialects/realtime/input.ts";
import type { LatentcastError } from "../../../../src/errors.ts";
import { generateInput } from "../../../../src/schema/input.ts";

const fieldsOf = (message: Record<string, unknown>): string[] => {
  try {
    readInput(message);
    return [];
  } catch (error) {
    return (error as LatentcastError).fields.map(({ loc }) => loc.join("."));
  }
};

describe("a realtime input", () => {
  it("is a request of our own, but for previews and the answer's form", () => {
    const { input, warnings } = readInput({ prompt: "x" });
    const { input: ours } = { input: generateInput.parse({ prompt: "x" }) };
    expect(input).toEqual({
      ...ours,
      preview: false,
      sync_mode: false,
      seed: undefined,
      width: undefined,
      height: undefined,
    });
    expect(warnings).toEqual([]);
  });

  it("takes nil in every field for its absence", () => {
    const names = [
      "negative_prompt",
      "seed",
      "num_inference_steps",
      "image_url",
      "image_size",
      "preview",
      "request_id",
      "mode",
    ];
    const nils = Object.fromEntries(names.map((name) => [name, null]));
    expect(readInput({ prompt: "x", ...nils })).toEqual(readInput({ prompt: "x" }));
  });

  it("takes numbers as text, presets of sizes, and what else fal's demos send", () => {
    const { input, warnings } = readInput({
      prompt: "x",
      num_inference_steps: "2",
      image_size: "square",
      enable_safety_checks: false,
      enable_safety_checker: true,
      _force_msgpack: new Uint8Array([]),
      format: "png",
    });
    expect(input).toMatchObject({ num_inference_steps: 2, width: 512, height: 512, output_format: "png" });
    expect(warnings).toEqual([]);
  });

  it("brings seeds into our range and says so", () => {
    const { input, warnings } = readInput({ prompt: "x", seed: 2 ** 32 + 5 });
    expect([input.seed, warnings]).toEqual([5, [expect.stringContaining("modulo")]]);
  });

  it.each([
    [{ sync_mode: true }, true],
    [{ sync_mode: true, _force_msgpack: new Uint8Array([]) }, false],
    [{ sync_mode: true, image_bytes: new Uint8Array([1]) }, false],
    [{}, false],
  ])("with %j wants a data URI beside the bytes: %j", (fields, wantsUrl) => {
    expect(readInput({ prompt: "x", ...fields }).wantsUrl).toBe(wantsUrl);
  });

  it.each([
    [{}, ["body.prompt"]],
    [{ prompt: new Date(0) }, ["body.prompt"]],
    [{ prompt: "x", seed: 2 ** 53 + 2 }, ["body.seed"]],
    [{ prompt: "x", image_bytes: "no bytes" }, ["body.image_bytes"]],
    [{ prompt: "x", mode: "never" }, ["body.mode"]],
    [{ prompt: "x", guidance_scale: { nested: 1 } }, ["body.guidance_scale"]],
  ])("%j is refused by the fields %j", (message, fields) => {
    expect(fieldsOf(message)).toEqual(fields);
  });

  it("that is refused still has its id", () => {
    expect(["a", 7, null, {}, "x".repeat(2_000)].map((id) => requestIdOf({ request_id: id }))).toEqual([
      "a",
      7,
      "",
      "",
      "",
    ]);
    expect(requestIdOf(undefined)).toBe("");
  });
});
