/** The size of an image that is made from another: the shape of that one, where none was asked for. */
import type { PixelSize } from "../images/inputs.ts";
import type { ModelInfo } from "../protocol/messages.ts";
import type { ParsedInput } from "../schema/input.ts";
import type { Fitted } from "./submission.ts";

const SIDE_MULTIPLE = 8;

/** Sides that were not asked for come from the image, scaled down to the area that the model is made for. */
export function sizedByImage(input: ParsedInput, image: PixelSize, model: ModelInfo): Fitted {
  const { width, height } = input;
  if (width !== undefined && height !== undefined) return { input, warnings: [] };
  const size = sidesFor({ width, height }, image, model);
  const isSame = size.width === image.width && size.height === image.height;
  const warning = `the image of ${image.width}x${image.height} was scaled to ${size.width}x${size.height}, which this model can make`;
  return { input: { ...input, ...size }, warnings: isSame ? [] : [warning] };
}

function sidesFor(
  asked: { readonly width: number | undefined; readonly height: number | undefined },
  image: PixelSize,
  model: ModelInfo,
): PixelSize {
  const fit = (side: number): number => {
    const onGrid = Math.round(side / SIDE_MULTIPLE) * SIDE_MULTIPLE;
    return Math.min(model.max_side, Math.max(model.min_side, onGrid));
  };
  if (asked.width !== undefined) return { width: asked.width, height: fit((asked.width * image.height) / image.width) };
  if (asked.height !== undefined)
    return { width: fit((asked.height * image.width) / image.height), height: asked.height };
  const area = model.native_width * model.native_height;
  const scale = Math.min(1, Math.sqrt(area / (image.width * image.height)));
  return { width: fit(image.width * scale), height: fit(image.height * scale) };
}
