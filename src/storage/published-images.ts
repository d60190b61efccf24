/** Finished images as clients get them: inside the response, or as a file of this server whose name nobody can guess. */
import { randomBytes } from "node:crypto";
import type { EncodedImage } from "../jobs/events.ts";
import { Base64 } from "../schema/base64.ts";
import type { Image } from "../schema/output.ts";
import type { ObjectStore } from "./object-store.ts";

/** An {@link Image} until it is written: inside a response its URL still is bytes. */
export interface ServedImage extends Omit<Image, "url"> {
  readonly url: string | Base64;
}

/** A response body whose images are {@link ServedImage}. */
export type Served<Body> = Body extends Image
  ? ServedImage
  : Body extends readonly (infer Each)[]
    ? Served<Each>[]
    : Body extends object
      ? { [Name in keyof Body]: Served<Body[Name]> }
      : Body;

export interface PublishOptions {
  /** `sync_mode` of the request. */
  readonly isInline: boolean;
  readonly baseUrl: string;
}

export class PublishedImages {
  readonly #objects: ObjectStore;

  constructor(objects: ObjectStore) {
    this.#objects = objects;
  }

  /** Rejects with `storage_full` when there is no room for the files. */
  async publish(images: readonly EncodedImage[], { isInline, baseUrl }: PublishOptions): Promise<ServedImage[]> {
    if (isInline) return images.map(inlineImage);
    return Promise.all(
      images.map(async ({ bytes, contentType, width, height }) => {
        const key = fileKey(contentType);
        await this.#objects.put({ key, contentType }, bytes);
        return { url: `${baseUrl}/files/${key}`, content_type: contentType, width, height };
      }),
    );
  }

  /** Nobody will hear of these images: another response to the request counts. */
  async discard(images: readonly ServedImage[]): Promise<void> {
    const keys = images.flatMap(({ url }) => (typeof url === "string" ? [url.slice(url.lastIndexOf("/") + 1)] : []));
    await this.#objects.remove(keys);
  }
}

/** The image as a data URI. */
export function inlineImage({ bytes, contentType, width, height }: EncodedImage): ServedImage {
  return { url: new Base64(bytes, `data:${contentType};base64,`), content_type: contentType, width, height };
}

/** 144 random bits, and an extension that says what is inside. */
export function fileKey(contentType: string): string {
  const extension = /^image\/(jpeg|png|webp|avif|gif)$/.exec(contentType)?.[1];
  const name = randomBytes(18).toString("base64url");
  return extension === undefined ? name : `${name}.${extension === "jpeg" ? "jpg" : extension}`;
}
