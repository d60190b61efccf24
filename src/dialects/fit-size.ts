/** Sizes that programs ask for because another model makes them. */
import type { Fitted } from "../jobs/submission.ts";
import type { ModelInfo } from "../protocol/messages.ts";
import type { ParsedInput } from "../schema/input.ts";

const SIDE_MULTIPLE = 8;

/**
 * What the model can make in place of the size that was asked for, with a warning where they differ: the same shape at the model's own
 * size where it is too large. Asked for more, a small model would refuse, or repeat itself all over the image.
 * @param name What the warning calls it.
 */
export function fitSize(input: ParsedInput, model: ModelInfo, name = "image_size"): Fitted {
  const { min_side: min, max_side: max, native_width: nativeWidth, native_height: nativeHeight } = model;
  if (input.width === undefined || input.height === undefined) return { input, warnings: [] };
  const longest = Math.max(input.width, input.height);
  const scale = longest > max ? Math.max(nativeWidth, nativeHeight) / longest : 1;
  const fit = (side: number): number =>
    Math.min(max, Math.max(min, Math.round((side * scale) / SIDE_MULTIPLE) * SIDE_MULTIPLE));
  const [width, height] = [fit(input.width), fit(input.height)];
  const isSame = width === input.width && height === input.height;
  const warning = `${name} ${input.width}x${input.height} was changed to ${width}x${height}, which this model can make`;
  return { input: { ...input, width, height }, warnings: isSame ? [] : [warning] };
}
