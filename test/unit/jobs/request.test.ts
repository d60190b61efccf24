import { describe, expect, it } from "vitest";
import { resolveRequest, toCommand } from "../../../src/jobs/request.ts";
import { drawSeed } from "../../../src/jobs/submission.ts";
import { generateInput, MAX_SEED, type GenerateInput } from "../../../src/schema/input.ts";
import { executedSteps } from "../../../src/protocol/params.ts";
import { modelInfo, workerInfo } from "../../support/builders.ts";
import { inputImages } from "../../support/images.ts";

const model = modelInfo({ native_width: 256, native_height: 128, min_side: 64, max_side: 512 });

function resolve(input: Partial<GenerateInput> = {}, maxPixels = 2 ** 20) {
  return resolveRequest(
    drawSeed(generateInput.parse({ prompt: "x", ...input })),
    { ...workerInfo(), model },
    { maxPixels },
  );
}

function problems(input: Partial<GenerateInput>, maxPixels?: number): unknown {
  try {
    return resolve(input, maxPixels);
  } catch (error) {
    return error;
  }
}

describe("a resolved request", () => {
  it("has the size of the model where none was asked for, and what was asked for where it was", () => {
    expect(resolve().params).toMatchObject({ width: 256, height: 128 });
    expect(resolve({ width: 64, height: 512 }).params).toMatchObject({ width: 64, height: 512 });
  });

  it("keeps every seed that was given, 0 included, and draws one where none was", () => {
    for (const seed of [0, 7, MAX_SEED]) expect(resolve({ seed }).params.seed).toBe(seed);
    const seeds = Array.from({ length: 20 }, () => resolve({ seed: null }).params.seed);
    expect(new Set(seeds).size).toBeGreaterThan(10);
    for (const seed of seeds) expect(seed).toBeLessThanOrEqual(MAX_SEED);
  });

  it("warns when the model knows no word of the prompt, and never for a model that knows everything", () => {
    const vocabulary = { summary: "seas", subjects: ["sea"], modifiers: [] };
    const warnings = (prompt: string, known: typeof vocabulary | null): readonly string[] =>
      resolveRequest(
        drawSeed(generateInput.parse({ prompt })),
        { ...workerInfo(), model: { ...model, vocabulary: known } },
        { maxPixels: 2 ** 20 },
      ).warnings;
    expect(warnings("a cat", vocabulary)).toEqual([expect.stringContaining("paints seas")]);
    expect(warnings("a cat by the sea", vocabulary)).toEqual([]);
    expect(warnings("a cat", null)).toEqual([]);
  });

  it("is refused with every field that the model or the server cannot serve", () => {
    expect(problems({ width: 1_024, height: 2_048 })).toMatchObject({
      code: "invalid_request",
      fields: [
        { loc: ["body", "width"], type: "too_big" },
        { loc: ["body", "height"], type: "too_big" },
        { loc: ["body", "num_images"], type: "too_big" },
      ],
    });
    expect(problems({ num_images: 4 }, 256 * 128 * 3)).toMatchObject({ fields: [{ loc: ["body", "num_images"] }] });
    expect(problems({ num_images: 4 }, 256 * 128 * 4)).not.toHaveProperty("code");
  });
});

describe("LoRAs of a request", () => {
  const input = { prompt: "a <lora:oil:0.5>cat", negative_prompt: "<lora:detail>fog", loras: [{ path: "ink" }] };

  function resolveOn(takesLoras: boolean, given: Partial<GenerateInput>) {
    const serving = { ...workerInfo(), model: { ...model, takes_loras: takesLoras } };
    return resolveRequest(drawSeed(generateInput.parse({ prompt: "x", ...given })), serving, { maxPixels: 2 ** 20 });
  }

  it("are those of the field and then those in its prompts, which lose their tags", () => {
    const { params, warnings } = resolveOn(true, input);
    expect(params).toMatchObject({ prompt: "a cat", negative_prompt: "fog" });
    expect(params.loras).toEqual([
      { path: "ink", scale: 1 },
      { path: "oil", scale: 0.5 },
      { path: "detail", scale: 1 },
    ]);
    expect(warnings).toEqual([]);
  });

  it("are left out with a warning where the server has none", () => {
    const { params, warnings } = resolveOn(false, input);
    expect(params).toMatchObject({ prompt: "a cat", negative_prompt: "fog", loras: [] });
    expect(warnings).toEqual([expect.stringContaining("loras was ignored")]);
    expect(resolveOn(false, { prompt: "a cat" }).warnings).toEqual([]);
  });

  it("are not looked for in plain prompts", () => {
    const { params } = resolveOn(true, { ...input, prompt_syntax: "plain" });
    expect(params).toMatchObject({ prompt: input.prompt, negative_prompt: input.negative_prompt });
    expect(params.loras).toEqual([{ path: "ink", scale: 1 }]);
  });

  it.each([
    [{ prompt: "<lora:ink:strong>" }, "prompt"],
    [{ negative_prompt: "<lora:ink:99>" }, "negative_prompt"],
    [{ prompt: "<lora:ink>".repeat(9) }, "loras"],
  ])("%j is refused by the field", (given, field) => {
    expect(() => resolveOn(true, given)).toThrow(
      expect.objectContaining({ fields: [expect.objectContaining({ loc: ["body", field] })] }),
    );
  });
});

describe("a negative prompt without guidance", () => {
  it("is not used, as in diffusers, and the result says so", () => {
    for (const guidance_scale of [0, 1]) {
      expect(resolve({ guidance_scale, negative_prompt: "fog" }).warnings).toEqual([
        expect.stringContaining("negative_prompt was ignored"),
      ]);
    }
  });

  it("gives no warning with guidance, or when none was asked for", () => {
    expect(resolve({ guidance_scale: 1.5, negative_prompt: "fog" }).warnings).toEqual([]);
    expect(resolve({ guidance_scale: 1 }).warnings).toEqual([]);
    expect(resolve({ guidance_scale: 1, negative_prompt: "" }).warnings).toEqual([]);
  });
});

describe("the previews of a model without a tiny decoder", () => {
  const serving = workerInfo({ preview_decoders: ["linear"] });
  const preview = (options: GenerateInput["preview"]) => {
    const input = generateInput.parse({ prompt: "x", preview: options });
    const { preview: plan, warnings } = resolveRequest(drawSeed(input), serving, { maxPixels: 2 ** 20 });
    return { decoder: plan?.decoder, warnings };
  };

  it("are linear, with a warning when the tiny decoder was asked for", () => {
    const { decoder, warnings } = preview({ decoder: "tae" });
    expect(decoder).toBe("linear");
    expect(warnings).toEqual([expect.stringContaining("preview.decoder tae is not available")]);
  });

  it.each([{}, { decoder: "linear" }] as const)("are linear without a warning for %j", (options) => {
    expect(preview(options)).toEqual({ decoder: "linear", warnings: [] });
  });

  it("give no warning when they are switched off", () => {
    expect(preview(false)).toEqual({ decoder: undefined, warnings: [] });
  });
});

describe("a request that starts from an image", () => {
  const resolveWith = (input: Partial<GenerateInput>, hasMask = false) =>
    resolveRequest(
      drawSeed(generateInput.parse({ prompt: "x", ...input })),
      { ...workerInfo(), model },
      { maxPixels: 2 ** 20 },
      { inputs: inputImages(100, 50, { hasMask }) },
    );

  it("has strength 0.95 by default", () => {
    expect(resolveWith({}).params.strength).toBe(0.95);
    expect(resolveWith({ strength: 0.3 }).params.strength).toBe(0.3);
    expect(resolve().params.strength).toBeNull();
  });

  it("runs the last part of the steps, rounded as diffusers does", () => {
    const cases = [
      [50, 0.58, 28],
      [25, 0.95, 23],
      [20, 1, 20],
    ] as const;
    for (const [steps, strength, executed] of cases)
      expect(executedSteps(resolveWith({ num_inference_steps: steps, strength }).params)).toBe(executed);
  });

  it("is refused when no step would run, and the error names a strength that runs one", () => {
    for (let steps = 1; steps <= 50; steps += 1) {
      let message = "";
      try {
        resolveWith({ num_inference_steps: steps, strength: 0.99 / steps });
      } catch (error) {
        expect(error).toMatchObject({ code: "invalid_request", fields: [{ loc: ["body", "strength"] }] });
        message = String(error);
      }
      const least = Number(/at least ([\d.]+) is needed/.exec(message)?.[1]);
      expect(executedSteps(resolveWith({ num_inference_steps: steps, strength: least }).params)).toBe(1);
    }
  });

  it("carries its pixels in the size of the job", async () => {
    const request = resolveWith({ width: 64, height: 128 }, true);
    await request.inputs?.fit(request.params);
    const { command, payload } = toCommand(request, "a", 1);
    const size = { width: 64, height: 128 };
    expect(command).toMatchObject({ inputs: { image: size, mask: size } });
    expect(payload.map(({ byteLength }) => byteLength)).toEqual([64 * 128 * 3, 64 * 128]);
  });

  it("gets a warning for strength without an image", () => {
    expect(resolve({ strength: 0.5 })).toMatchObject({
      params: { strength: null },
      warnings: ["strength was ignored: there is no image_url"],
    });
  });
});
