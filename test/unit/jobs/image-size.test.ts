import { expect, it } from "vitest";
import { sizedByImage } from "../../../src/jobs/image-size.ts";
import { generateInput, type GenerateInput } from "../../../src/schema/input.ts";
import { modelInfo } from "../../support/builders.ts";

const model = modelInfo({ native_width: 1024, native_height: 1024, min_side: 256, max_side: 2048 });

function sized(image: { width: number; height: number }, input: Partial<GenerateInput> = {}) {
  return sizedByImage(generateInput.parse({ prompt: "x", ...input }), image, model);
}

it("an image of a size that the model can make keeps it, without a warning", () => {
  expect(sized({ width: 1024, height: 768 })).toMatchObject({ input: { width: 1024, height: 768 }, warnings: [] });
});

it.each([
  ["a large photo", { width: 2048, height: 1536 }, { width: 1184, height: 888 }],
  ["sides off the grid", { width: 601, height: 399 }, { width: 600, height: 400 }],
  ["a single pixel", { width: 1, height: 1 }, { width: 256, height: 256 }],
  ["a stripe", { width: 2048, height: 2 }, { width: 2048, height: 256 }],
])("%s is brought to the grid and the area of the model, and that is told", (_, image, size) => {
  const { input, warnings } = sized(image);
  expect(input).toMatchObject(size);
  expect(warnings).toEqual([
    expect.stringContaining(`${image.width}x${image.height} was scaled to ${size.width}x${size.height}`),
  ]);
});

it("sides that were asked for are kept; the other one follows the shape of the image", () => {
  expect(sized({ width: 300, height: 600 }, { width: 512, height: 512 })).toMatchObject({
    input: { width: 512, height: 512 },
    warnings: [],
  });
  expect(sized({ width: 300, height: 600 }, { width: 512 }).input).toMatchObject({ width: 512, height: 1024 });
  expect(sized({ width: 300, height: 600 }, { height: 512 }).input).toMatchObject({ width: 256, height: 512 });
});
