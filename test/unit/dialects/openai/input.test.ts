import { describe, expect, it } from "vitest";
import { openaiDialect } from "../../../../src/dialects/openai/dialect.ts";
import { modelInfo } from "../../../support/builders.ts";

const read = (body: unknown) => openaiDialect.read({ path: "/v1/images/generations", body });
const taken = (body: object) => {
  const given = read({ prompt: "x", ...body });
  if (!given.ok) throw new Error(JSON.stringify(given.problems));
  return given;
};
const input = (body: object) => taken(body).input;
const fitted = (body: object, model = modelInfo()) => {
  const { input: given, exchange } = taken(body);
  return exchange.fit(given, model);
};

describe("the input", () => {
  it("is a PNG without previews, inside the answer, when nothing else is said", () => {
    expect(input({})).toMatchObject({
      output_format: "png",
      num_images: 1,
      preview: false,
      sync_mode: true,
      negative_prompt: "blurry, low quality",
    });
  });

  it("takes every optional field as null", () => {
    const names = ["model", "n", "size", "quality", "response_format", "output_format", "output_compression", "seed"];
    const more = ["background", "stream", "partial_images", "user", "style", "moderation", "steps", "cfg", "scheduler"];
    const nulls = Object.fromEntries([...names, ...more, "width", "height"].map((name) => [name, null]));
    expect(input(nulls)).toEqual(input({}));
  });

  it.each([
    [{ steps: 7 }, { num_inference_steps: 7 }],
    [{ num_inference_steps: 7 }, { num_inference_steps: 7 }],
    [{ step: "7" }, { num_inference_steps: 7 }],
    [{ guidance_scale: 3 }, { guidance_scale: 3 }],
    [{ cfg_scale: 3 }, { guidance_scale: 3 }],
    [{ cfg: "3.5" }, { guidance_scale: 3.5 }],
    [
      { seed: 4, negative_prompt: "", scheduler: "ddim" },
      { seed: 4, negative_prompt: "", scheduler: "ddim" },
    ],
    [{ n: 10 }, { num_images: 10 }],
    [{ size: "128x64" }, { width: 128, height: 64 }],
    [
      { size: "auto", width: 128, height: 64 },
      { width: 128, height: 64 },
    ],
    [
      { size: "128x64", width: 128 },
      { width: 128, height: 64 },
    ],
  ])("takes %j as %j", (body, expected) => {
    expect(input(body)).toMatchObject(expected);
  });

  it.each<[object, string]>([
    [{ prompt: undefined }, "prompt"],
    [{ n: 0 }, "n"],
    [{ n: 11 }, "n"],
    [{ size: "large" }, "size"],
    [{ size: "100x100" }, "size"],
    [{ size: "4096x64" }, "size"],
    [{ size: "128x64", width: 256 }, "size"],
    [{ quality: "best" }, "quality"],
    [{ output_format: "avif" }, "output_format"],
    [{ output_compression: 101 }, "output_compression"],
    [{ background: "transparent" }, "background"],
    [{ response_format: "hex" }, "response_format"],
    [{ stream: true, partial_images: 4 }, "partial_images"],
    [{ stream: "perhaps" }, "stream"],
  ])("refuses %j by the field's name", (body, field) => {
    const given = read({ prompt: "x", ...body });
    expect(given.ok ? [] : given.problems.map(({ loc }) => loc[1])).toEqual([field]);
  });

  it("passes fields that it does not know, and says so", () => {
    expect(taken({ input_fidelity: "high" }).warnings).toEqual([expect.stringContaining("input_fidelity")]);
  });

  it.each([
    ["auto", 20],
    ["low", 10],
    ["medium", 20],
    ["standard", 20],
    ["high", 30],
    ["hd", 30],
  ])("of quality %s takes %i of a model's 20 steps", (quality, steps) => {
    expect(fitted({ quality }).input.num_inference_steps).toBe(steps);
    expect(fitted({ quality, steps: 3 }).input.num_inference_steps).toBe(3);
  });

  it.each([
    ["gpt-image-1", 1],
    ["test", 0],
  ])("for the model %j brings %i warnings from the model test", (model, count) => {
    expect(fitted({ model }).warnings).toHaveLength(count);
  });

  it.each([
    [{ model: "sdxl" }, true],
    [{ model: "gpt-image-1" }, true],
    [{ model: "dall-e-3" }, false],
    [{ model: "dall-e-3", response_format: "b64_json" }, true],
    [{ model: "sdxl", response_format: "url" }, false],
    [{ model: "dall-e-3", stream: true }, true],
  ])("%j has its image inside the answer: %s", (body, inside) => {
    expect(input(body).sync_mode).toBe(inside);
  });
});

describe("partial images", () => {
  const partials = { stream: true, partial_images: 3 };

  it("are made as often as the number of steps asks for", () => {
    expect(fitted({ ...partials, steps: 20 }).input.preview).toMatchObject({ every: 7 });
  });

  it("of a PNG request hold at most a megabyte of base64, which node's client takes a tenth of a second for", () => {
    const { preview } = input(partials);
    const side = preview === false ? 0 : (preview.max_side ?? Number.POSITIVE_INFINITY);
    expect((side ** 2 * 3 * 4) / 3).toBeLessThanOrEqual(2 ** 20);
  });

  it.each([{ partial_images: 3 }, { stream: true }, { stream: true, partial_images: 0 }])(
    "are not made for %j",
    (body) => {
      expect(input(body).preview).toBe(false);
    },
  );
});

describe("the way of the answer", () => {
  const [route] = openaiDialect.routes;
  it.each([
    [true, "events"],
    ["True", "events"],
    ["1", "events"],
    [false, "result"],
    ["0", "result"],
    [null, "result"],
    [undefined, "result"],
  ])("for stream %j is %s", (stream, responseKind) => {
    expect(route?.responseKind({ path: "/v1/images/generations", body: { stream } })).toBe(responseKind);
  });

  it.each([null, undefined, "text", 3, []])("for the body %j is a result, which refuses it", (body) => {
    expect(route?.responseKind({ path: "/v1/images/generations", body })).toBe("result");
    expect(read(body).ok).toBe(false);
  });
});
