/** The images that a job starts from: decoded when they come, brought to the job's size once that is known, then only held so. */
import { resizeDecoded, type DecodedImage } from "./decode.ts";
import type { HeldMemory } from "./input-memory.ts";

/** Names the bytes that were sent; written into the images that were made from them. */
export interface InputDigests {
  readonly image: string;
  readonly mask: string | null;
}

export interface NewInputImages {
  readonly image: DecodedImage;
  readonly mask: DecodedImage | null;
  readonly digests: InputDigests;
  /** Has room for the larger of what came and what it becomes. */
  readonly memory?: HeldMemory;
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
  readonly #memory: HeldMemory | undefined;
  #decoded: readonly DecodedImage[] | undefined;
  #fitted: Promise<readonly Buffer[]> | undefined;
  #frames: readonly Buffer[] | undefined;

  constructor({ image, mask, digests, memory }: NewInputImages) {
    this.size = { width: image.width, height: image.height };
    this.hasMask = mask !== null;
    this.digests = digests;
    this.#memory = memory;
    this.#decoded = mask === null ? [image] : [image, mask];
  }

  /** RGB8 of the image, then one byte a pixel of the mask; undefined until {@link fit} has resolved, and after {@link release}. */
  get frames(): readonly Buffer[] | undefined {
    return this.#frames;
  }

  /** The first size is the only one: what came is given up for it. Their shape is not kept. */
  async fit({ width, height }: PixelSize): Promise<void> {
    this.#fitted ??= Promise.all((this.#decoded ?? []).map((image) => resizeDecoded(image, width, height)));
    const frames = await this.#fitted;
    // Released meanwhile, or fitted before.
    if (this.#decoded === undefined) return;
    this.#decoded = undefined;
    this.#frames = frames;
    this.#memory?.settle(frames.reduce((sum, frame) => sum + frame.byteLength, 0));
  }

  /** Nobody will draw from them any more. */
  release(): void {
    this.#decoded = this.#fitted = this.#frames = undefined;
    this.#memory?.settle(0);
  }
}
