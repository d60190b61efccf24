import { describe, expect, it } from "vitest";
import { fastSdxlDialect } from "../../../src/dialects/fast-sdxl/dialect.ts";

const input = (body: object) => {
  const parsed = fastSdxlDialect.parse(body, "/fal-ai/fast-sdxl");
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed;
};
const model = { min_side: 64, max_side: 1_024, native_width: 512, native_height: 512 };
const fit = (size: unknown, limits: Partial<typeof model> = {}) =>
  // Only the limits are looked at.
  fastSdxlDialect.fit(input({ prompt: "x", image_size: size }).input, { ...model, ...limits } as never);

describe("fast-sdxl's input", () => {
  it("has fal's defaults under our names", () => {
    expect(input({ prompt: "x" }).input).toMatchObject({
      num_inference_steps: 25,
      guidance_scale: 7.5,
      negative_prompt: "",
      output_format: "jpeg",
      sync_mode: false,
      seed: null,
    });
  });

  it("takes numbers as text", () => {
    expect(input({ prompt: "x", num_inference_steps: "4", seed: "9" }).input).toMatchObject({
      num_inference_steps: 4,
      seed: 9,
    });
  });

  it("names what it ignores when that changes the image", () => {
    expect(input({ prompt: "x", embeddings: [{}], loras: [], strength: null, expand_prompt: true }).warnings).toEqual([
      expect.stringMatching(/^embeddings was ignored/),
    ]);
  });

  it("takes seeds modulo 2^32, with a warning", () => {
    const { input: taken, warnings } = input({ prompt: "x", seed: 2 ** 32 + 5 });
    expect([taken.seed, warnings]).toEqual([5, [expect.stringContaining("modulo")]]);
  });

  it.each([
    [{}, "prompt"],
    [{ prompt: "x", num_images: 9 }, "num_images"],
    [{ prompt: "x", image_size: { width: 0, height: 5 } }, "width"],
    [{ prompt: "x", image_size: "huge" }, "image_size"],
  ])("refuses %j by the field's name", (body, field) => {
    const parsed = fastSdxlDialect.parse(body, "/fal-ai/fast-sdxl");
    expect(parsed.ok ? [] : parsed.problems.map(({ loc }) => loc.at(-1))).toEqual([field]);
  });

  it.each([
    ["/fal-ai/fast-sdxl/image-to-image", ["image_url"]],
    ["/fal-ai/fast-sdxl/image-to-image/stream", ["image_url"]],
    ["/fal-ai/fast-lightning-sdxl/inpainting", ["image_url", "mask_url"]],
    ["/fal-ai/fast-sdxl/stream", []],
  ])("needs what the variant starts from: %s", (path, fields) => {
    const problems = (body: object): unknown[] => {
      const parsed = fastSdxlDialect.parse({ prompt: "x", ...body }, path);
      return parsed.ok ? [] : parsed.problems.map(({ loc }) => loc.at(-1));
    };
    expect(problems({})).toEqual(fields);
    expect(problems({ image_url: null, mask_url: null })).toEqual(fields);
    expect(problems({ image_url: "data:,", mask_url: "data:," })).toEqual([]);
  });
});

describe("fast-sdxl's sizes", () => {
  it.each<[string, unknown, [number, number], number]>([
    ["the default where the model makes it", undefined, [1_024, 1_024], 0],
    ["a size that the model makes", { width: 512, height: 768 }, [512, 768], 0],
    ["the nearest multiple of 8", { width: 130, height: 258 }, [128, 256], 1],
    ["the same shape where it is too large", { width: 2_048, height: 1_024 }, [512, 256], 1],
    ["no side below the smallest", { width: 1, height: 512 }, [64, 512], 1],
  ])("become %s", (_, size, [width, height], warnings) => {
    const fitted = fit(size);
    expect([fitted.input.width, fitted.input.height]).toEqual([width, height]);
    expect(fitted.warnings).toHaveLength(warnings);
  });

  it("become the model's own where it cannot make the default", () => {
    expect(fit(undefined, { max_side: 512 }).input).toMatchObject({ width: 512, height: 512 });
  });
});
