/** Images on their way between processes: cut into parts that fit a message, and put together again. */
import type { EncodedImage } from "../jobs/events.ts";
import type { ImagePart } from "./wire.ts";

export interface PartOfImage {
  readonly part: ImagePart;
  readonly bytes: Buffer;
}

/** In the order in which they are to be sent. @param partBytes The most that one holds. */
export function cutImages(images: readonly EncodedImage[], partBytes: number): PartOfImage[] {
  return images.flatMap(({ bytes, contentType, width, height, seed }, image) => {
    const of = Math.max(1, Math.ceil(bytes.byteLength / partBytes));
    return Array.from({ length: of }, (_, part) => ({
      part: { image, images: images.length, part, of, content_type: contentType, width, height, seed },
      bytes: bytes.subarray(part * partBytes, (part + 1) * partBytes),
    }));
  });
}

/** The images of one preview or result, as their parts come; a part that comes twice counts once. */
export class ImageAssembly {
  readonly #parts = new Map<string, PartOfImage>();

  add({ part, bytes }: PartOfImage): void {
    this.#parts.set(`${part.image}.${part.part}`, { part, bytes });
  }

  /** Undefined until every part has come. */
  get images(): EncodedImage[] | undefined {
    const [first] = this.#parts.values();
    if (first === undefined) return undefined;
    const images = Array.from({ length: first.part.images }, (_, image) => this.#image(image));
    return images.every((image) => image !== undefined) ? images : undefined;
  }

  #image(image: number): EncodedImage | undefined {
    const first = this.#parts.get(`${image}.0`);
    if (first === undefined) return undefined;
    const bytes: Buffer[] = [];
    for (let part = 0; part < first.part.of; part += 1) {
      const found = this.#parts.get(`${image}.${part}`);
      if (found === undefined) return undefined;
      bytes.push(found.bytes);
    }
    const { content_type: contentType, width, height, seed } = first.part;
    return { bytes: Buffer.concat(bytes), contentType, width, height, seed };
  }
}
