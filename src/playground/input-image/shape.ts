/** Which part of an image is used where another shape is asked for: it is cut, never stretched. */

export interface Size {
  readonly width: number;
  readonly height: number;
}

export interface Area extends Size {
  readonly x: number;
  readonly y: number;
}

/** Shapes closer than this are the same: sides are rounded to the grid of the model. */
const SAME_RATIO = 0.01;

/** The largest part of `image` with the shape of `target`, from its middle. */
export function middleOf(image: Size, target: Size): Area {
  const scale = Math.min(image.width / target.width, image.height / target.height);
  const width = target.width * scale;
  const height = target.height * scale;
  return { x: (image.width - width) / 2, y: (image.height - height) / 2, width, height };
}

export function isSameShape(one: Size, other: Size): boolean {
  return Math.abs((one.width * other.height) / (one.height * other.width) - 1) < SAME_RATIO;
}

/** @param side The longest that is kept. */
export function within({ width, height }: Size, side: number): Size {
  const scale = Math.min(1, side / Math.max(width, height));
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}

/** No request is larger, whatever the model. */
const MAX_REQUEST_SIDE = 2_048;

/** Undefined where the fields hold no size: the model's own is used then, or the server says what is wrong. */
export function requestSize(fields: { readonly width: string; readonly height: string }): Size | undefined {
  const size = { width: Number(fields.width), height: Number(fields.height) };
  const isUsable = [size.width, size.height].every(
    (side) => Number.isInteger(side) && side > 0 && side <= MAX_REQUEST_SIDE,
  );
  return isUsable ? size : undefined;
}
