import { describe, expect, it } from "vitest";
import { resolveRequest } from "../../../src/jobs/request.ts";
import { generateInput, type GenerateInput } from "../../../src/schema/input.ts";
import { servedModel } from "../../support/builders.ts";

function resolved(path: string, fields: Partial<GenerateInput> = {}, scale = 1) {
  const input = generateInput.parse({ prompt: "x", seed: 1, loras: [{ path, scale }], ...fields });
  return resolveRequest(input, servedModel({ takes_loras: true }), { maxPixels: 2 ** 24 });
}

describe("a LoRA for few steps", () => {
  it.each([
    ["sdxl_lightning_8step_lora", "lightning", "euler", 8, 0],
    ["styles/SDXL-Lightning", "lightning", "euler", 4, 0],
    ["Hyper-SDXL-8steps-lora", "hyper", "ddim", 8, 0],
    ["Hyper-SDXL-8steps-CFG-lora", "hyper", "ddim", 8, 5],
    ["Hyper-SDXL-1step-lora", "hyper", "tcd", 1, 0],
    ["lcm-lora-sdxl", "lcm", "lcm", 4, 1],
    ["dmd2_sdxl_4step_lora", "dmd2", "lcm", 4, 0],
    ["sd_xl_turbo_lora_v1", "turbo", "euler_a", 4, 0],
    ["tcd_sdxl_lora", "tcd", "tcd", 4, 0],
  ])("%s brings its steps, guidance and scheduler", (path, distillation, scheduler, steps, guidance) => {
    const { params, warnings } = resolved(path);
    expect(params).toMatchObject({
      ...{ distillation, scheduler, num_inference_steps: steps, guidance_scale: guidance },
    });
    expect(warnings).toEqual([expect.stringContaining(`${path} is made for ${steps} step`)]);
  });

  it.each(["hyperrealism", "ink", "dalcm", "lightning/ink"])("is not one that is called %s", (path) => {
    const { params, warnings } = resolved(path);
    expect(params).toMatchObject({ distillation: null, scheduler: null, num_inference_steps: 20, guidance_scale: 5 });
    expect(warnings).toEqual([]);
  });

  it("is one in a prompt, too", () => {
    const { params } = resolved("ink", { prompt: "a lake <lora:lcm-lora-sdxl:1>" });
    expect(params).toMatchObject({ distillation: "lcm", num_inference_steps: 4 });
  });

  it("changes nothing where it is switched off or taken away", () => {
    for (const scale of [0, -1]) expect(resolved("lcm-lora-sdxl", {}, scale).params.distillation).toBeNull();
  });

  it("gives way to what is asked for, and the warning names what may spoil the image", () => {
    const { params, warnings } = resolved("sdxl_lightning_4step_lora", {
      ...{ num_inference_steps: 6, guidance_scale: 7, scheduler: "unipc" },
    });
    expect(params).toMatchObject({ num_inference_steps: 6, guidance_scale: 7, scheduler: "unipc", distillation: null });
    expect(warnings).toEqual([expect.stringContaining("guidance_scale 7 and scheduler unipc may spoil the image")]);
  });
});
