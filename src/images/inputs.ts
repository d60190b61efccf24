/** The images that a job starts from: decoded when they come, brought to the job's size once that is known, then only held so. */
import { resizeDecoded, type DecodedImage } from "./decode.ts";

/** Names the bytes that were sent; written into the images that were made from them. */
export interface InputDigests {
  readonly image: string;
  readonly mask: string | null;
}

export interface NewInputImages {
  readonly image: DecodedImage;
  readonly mask: DecodedImage | null;
  readonly digests: InputDigests;
}

export interface PixelSize {
  readonly width: number;
  readonly height: number;
}

export class InputImages {
  /** Of the image as it came, at most 2,048 a side. */
  readonly size: PixelSize;
  readonly hasMask: boolean;
  readonly digests: InputDigests;
  #decoded: readonly DecodedImage[] | undefined;
  #fitted: Promise<readonly Buffer[]> | undefined;
  #frames: readonly Buffer[] | undefined;

  constructor({ image, mask, digests }: NewInputImages) {
    this.size = { width: image.width, height: image.height };
    this.hasMask = mask !== null;
    this.digests = digests;
    this.#decoded = mask === null ? [image] : [image, mask];
  }

  /** RGB8 of the image, then one byte a pixel of the mask; undefined until {@link fit} has resolved. */
  get frames(): readonly Buffer[] | undefined {
    return this.#frames;
  }

  /** The first size is the only one: what came is given up for it. Their shape is not kept. */
  async fit({ width, height }: PixelSize): Promise<void> {
    this.#fitted ??= Promise.all((this.#decoded ?? []).map((image) => resizeDecoded(image, width, height)));
    this.#frames = await this.#fitted;
    this.#decoded = undefined;
  }
}
