import { describe, expect, it } from "vitest";
import { a1111Dialect } from "../../../../src/dialects/a1111/dialect.ts";
import { modelInfo } from "../../../support/builders.ts";

const read = (body: unknown, path = "/sdapi/v1/txt2img") => {
  const route = a1111Dialect.routes.find((each) => each.path === path);
  return (route?.read ?? a1111Dialect.read)({ path, body });
};
const taken = (body: object, path?: string) => {
  const given = read(body, path);
  if (!given.ok) throw new Error(JSON.stringify(given.problems));
  return given;
};
const fitted = (body: object, { path = "/sdapi/v1/txt2img", model = modelInfo() } = {}) => {
  const { input, exchange } = taken(body, path);
  exchange.chooseModel?.([model.id], undefined);
  return exchange.fit(input, model);
};
const IMG2IMG = "/sdapi/v1/img2img";
const IMAGE = "iVBORw0KGgo=";

describe("the input", () => {
  it("is one PNG with previews for whoever asks, from nothing but the model's defaults", () => {
    const { input, warnings } = taken({});
    expect(input).toMatchObject({
      prompt: "",
      negative_prompt: "",
      output_format: "png",
      num_images: 1,
      sync_mode: true,
    });
    expect(input.preview).toMatchObject({ every: 1 });
    expect(warnings).toEqual([]);
    expect(fitted({}).input).toMatchObject({ width: 64, height: 64, num_inference_steps: 20 });
  });

  it("takes every optional field as null", () => {
    const names = ["negative_prompt", "seed", "batch_size", "n_iter", "steps", "cfg_scale", "width", "height"];
    const more = ["sampler_name", "sampler_index", "scheduler", "clip_skip", "override_settings", "send_images"];
    const scripts = ["script_name", "alwayson_scripts", "styles", "force_task_id", "hr_checkpoint_name", "tiling"];
    const nulls = Object.fromEntries([...names, ...more, ...scripts].map((name) => [name, null]));
    expect(taken(nulls)).toMatchObject({ input: taken({}).input, warnings: [] });
    const settings = { override_settings: { sd_model_checkpoint: null, CLIP_stop_at_last_layers: null } };
    expect(taken(settings)).toMatchObject({ input: taken({}).input, warnings: [] });
  });

  it.each([
    [{ steps: 7 }, { num_inference_steps: 7 }],
    [
      { steps: "7", width: "128" },
      { num_inference_steps: 7, width: 128 },
    ],
    [{ cfg_scale: 3.5 }, { guidance_scale: 3.5 }],
    [{ seed: 4 }, { seed: 4 }],
    [{ seed: -1 }, { seed: null }],
    [{ batch_size: 2, n_iter: 3 }, { num_images: 6 }],
    [{ clip_skip: 1 }, { clip_skip: null }],
    [{ clip_skip: 2 }, { clip_skip: null }],
    [{ clip_skip: 3 }, { clip_skip: 1 }],
    [{ override_settings: { CLIP_stop_at_last_layers: 4 } }, { clip_skip: 2 }],
    [{ clip_skip: 1, override_settings: { CLIP_stop_at_last_layers: 4 } }, { clip_skip: null }],
    [{ sampler_name: "DDIM" }, { scheduler: "ddim" }],
    [{ sampler_name: "DDIM", sampler_index: "Euler" }, { scheduler: "ddim" }],
    [{ sampler_index: "DPM++ 2M Karras" }, { scheduler: "dpmpp_2m_karras" }],
    [{ sampler_name: "DPM++ 2M", scheduler: "Uniform" }, { scheduler: "dpmpp_2m" }],
  ])("takes %j as %j, and has nothing to say about it", (body, expected) => {
    const { input, warnings } = taken(body);
    expect(input).toMatchObject(expected);
    expect(warnings).toEqual([]);
  });

  it("without an image has no use for a strength, which every client sends", () => {
    expect(taken({ denoising_strength: 0.7 })).toMatchObject({ input: taken({}).input, warnings: [] });
  });

  it.each<[object, string]>([
    [{ prompt: "x".repeat(100_001) }, "prompt"],
    [{ sampler_name: "x".repeat(201) }, "sampler_name"],
    [{ steps: 0 }, "steps"],
    [{ steps: "many" }, "steps"],
    [{ batch_size: 0 }, "batch_size"],
    [{ batch_size: 5, n_iter: 5 }, "num_images"],
    [{ width: 0 }, "width"],
    [{ cfg_scale: -1 }, "cfg_scale"],
    [{ prompt: "a\0" }, "prompt"],
    [{ prompt: 3 }, "prompt"],
    [{ override_settings: 3 }, "override_settings"],
  ])("refuses %j by %s", (body, field) => {
    const given = read(body);
    expect(given.ok ? [] : given.problems.map(({ loc }) => loc[1])).toEqual([field]);
  });

  it.each([null, undefined, "text", 3, []])("is refused, or drawn without a prompt, for the body %j", (body) => {
    expect(read(body).ok).toBe(body === null || body === undefined);
  });

  it.each<[object, object, RegExp]>([
    [{ steps: 150 }, { num_inference_steps: 50 }, /steps 150 .* 50/],
    [{ cfg_scale: 30 }, { guidance_scale: 20 }, /cfg_scale 30 .* 20/],
    [{ seed: 2 ** 32 + 3 }, { seed: 3 }, /seed .* modulo/],
    [{ seed: -2 }, { seed: 2 ** 32 - 2 }, /seed .* modulo/],
    [{ sampler_name: "DPM++ SDE Karras" }, { scheduler: "dpmpp_2m_karras" }, /DPM\+\+ SDE Karras .* DPM\+\+ 2M/],
    [{ sampler_name: "Nonsense" }, { scheduler: undefined }, /Nonsense .* model's own/],
    [{ sampler_name: "Euler", scheduler: "Nonsense" }, { scheduler: "euler" }, /scheduler Nonsense/],
    [{ scheduler: "Karras" }, { scheduler: undefined }, /scheduler Karras/],
    [{ script_name: "X/Y/Z plot" }, {}, /script "X\/Y\/Z plot"/],
    [{ alwayson_scripts: { ControlNet: { args: [{ image: "x" }] } } }, {}, /script "ControlNet"/],
    [{ override_settings: { eta_ancestral: 1 } }, {}, /setting "eta_ancestral"/],
    [{ enable_hr: true }, {}, /enable_hr/],
    [{ restore_faces: true }, {}, /restore_faces/],
    [{ tiling: true }, {}, /tiling/],
    [{ save_images: true }, {}, /save_images/],
    [{ subseed: 5, subseed_strength: 0.5 }, {}, /subseed_strength/],
    [{ styles: ["photo"] }, {}, /styles/],
    [{ unheard_of: 1 }, {}, /unheard_of/],
  ])("takes %j as %j, and says so", (body, expected, warning) => {
    const { input, warnings } = taken(body);
    expect(input).toMatchObject(expected);
    expect(warnings).toEqual([expect.stringMatching(warning)]);
  });

  it("says nothing of scripts that are named only to be off", () => {
    const alwayson_scripts = { ADetailer: { args: [false] }, ControlNet: { args: [] }, Other: null };
    expect(taken({ alwayson_scripts, script_name: "" }).warnings).toEqual([]);
  });

  it("names a few of thousands of scripts and settings, and counts the rest", () => {
    const many = Object.fromEntries(Array.from({ length: 2_000 }, (_, index) => [`x${index}`, 1]));
    const { warnings } = taken({ alwayson_scripts: many, override_settings: many });
    expect(warnings).toHaveLength(12);
    expect(warnings.filter((text) => text.startsWith("1995 more"))).toHaveLength(2);
  });
});

describe("sizes", () => {
  it.each([
    [{ width: 128, height: 64 }, [128, 64], 0],
    [{ width: 100 }, [104, 64], 1],
    [{ width: 1000, height: 500 }, [64, 64], 1],
    [{ width: 8, height: 8 }, [64, 64], 1],
  ])("%j become %j with %i warnings", (body, [width, height], count) => {
    const { input, warnings } = fitted(body);
    expect(input).toMatchObject({ width, height });
    expect(warnings).toHaveLength(count);
  });
});

describe("the checkpoint", () => {
  it.each(["test", "TEST", "test [sdxl]", "test [31e35c80fc]", "test.safetensors", "", null])(
    "%j is the one that is loaded",
    (sd_model_checkpoint) => {
      expect(fitted({ override_settings: { sd_model_checkpoint } }).warnings).toEqual([]);
    },
  );

  it("of another name is not found, and the text names what there is", () => {
    expect(() => fitted({ override_settings: { sd_model_checkpoint: "other" } })).toThrow(
      expect.objectContaining({ code: "not_found", message: expect.stringContaining("test [sdxl]") }),
    );
  });
});

describe("an image to start from", () => {
  it.each([
    [IMAGE, `data:;base64,${IMAGE}`],
    [`data:image/png;base64,${IMAGE}`, `data:image/png;base64,${IMAGE}`],
    ["http://127.0.0.1:8080/files/x.png", "http://127.0.0.1:8080/files/x.png"],
  ])("sent as %s is read from %s", (image, address) => {
    const { input, inputs, warnings } = taken({ init_images: [image], mask: image }, IMG2IMG);
    expect(input).toMatchObject({ strength: 0.75 });
    expect(inputs).toMatchObject({ image: address, mask: address, conventions: { maskMark: "white" } });
    expect(warnings).toEqual([]);
  });

  it.each([
    [0, "white"],
    [false, "white"],
    [1, "black"],
    [true, "black"],
  ])("with its mask inverted (%j) changes where that is %s", (inpainting_mask_invert, maskMark) => {
    const { inputs } = taken({ init_images: [IMAGE], mask: IMAGE, inpainting_mask_invert }, IMG2IMG);
    expect(inputs).toMatchObject({ conventions: { maskMark, fields: { image: ["init_images"], mask: ["mask"] } } });
  });

  it.each([undefined, null, ""])("without a mask (%j) is drawn whole", (mask) => {
    expect(taken({ init_images: [IMAGE], mask }, IMG2IMG).inputs).toMatchObject({ mask: null });
  });

  it.each<[object, RegExp]>([
    [{ init_images: [IMAGE, IMAGE] }, /first/],
    [{ resize_mode: 1 }, /resize_mode 1/],
    [{ mask: IMAGE, mask_blur: 9 }, /mask_blur 9/],
    [{ mask: IMAGE, inpainting_fill: 0 }, /inpainting_fill 0/],
    [{ mask: IMAGE, inpaint_full_res: true }, /inpaint_full_res/],
  ])("with %j says what was not done", (body, warning) => {
    const { warnings } = taken({ init_images: [IMAGE], ...body }, IMG2IMG);
    expect(warnings).toEqual([expect.stringMatching(warning)]);
  });

  it("is needed, and there", () => {
    for (const body of [{}, { init_images: null }, { init_images: [] }]) {
      const given = read(body, IMG2IMG);
      expect(given.ok ? [] : given.problems.map(({ loc }) => loc[1])).toEqual(["init_images"]);
    }
  });

  it.each([
    [0, 0.05],
    [0.01, 0.05],
    [0.75, 0.75],
  ])("of strength %f is drawn with %f of 20 steps, at least one", (denoising_strength, strength) => {
    const { input, warnings } = fitted({ init_images: [IMAGE], denoising_strength }, { path: IMG2IMG });
    expect(input).toMatchObject({ strength, width: 64, height: 64 });
    expect(warnings).toHaveLength(strength === denoising_strength ? 0 : 1);
  });
});
