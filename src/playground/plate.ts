/** One picture and how it formed. */
import type { Values } from "./values.ts";

export interface Frame {
  readonly blob: Blob;
  readonly url: string;
  /** 0 to 1; the finished picture, and only it, is at 1. */
  readonly position: number;
  /** For people, such as "step 5 of 20". */
  readonly label: string;
  readonly width: number;
  readonly height: number;
}

export type FrameContent = Omit<Frame, "url">;

export class Plate {
  /** In the order in which they formed. */
  readonly frames: Frame[] = [];
  #values: Values;
  /** A browser may still be decoding the one before. */
  #replaced: string | undefined;

  constructor(values: Values) {
    this.#values = values;
  }

  /** What makes this picture again, alone. */
  get values(): Values {
    return this.#values;
  }

  get finished(): Frame | undefined {
    const last = this.frames.at(-1);
    return last?.position === 1 ? last : undefined;
  }

  add(content: FrameContent): void {
    this.frames.push({ ...content, url: URL.createObjectURL(content.blob) });
  }

  /** Becomes another picture, drawn live. */
  replace(values: Values, content: FrameContent): void {
    if (this.#replaced !== undefined) URL.revokeObjectURL(this.#replaced);
    this.#replaced = this.frames.pop()?.url;
    this.#values = values;
    this.add(content);
  }

  /** The newest frame that was there at `position`; before the first one, the first. */
  at(position: number): Frame | undefined {
    return this.frames.findLast((frame) => frame.position <= position) ?? this.frames[0];
  }

  /** Gives the memory of the pictures back. */
  release(): void {
    if (this.#replaced !== undefined) URL.revokeObjectURL(this.#replaced);
    for (const { url } of this.frames.splice(0)) URL.revokeObjectURL(url);
  }
}
