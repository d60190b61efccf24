/** Finished pictures as clients get them: inside the answer, or as a file of this server whose name nobody can guess. */
import { randomBytes } from "node:crypto";
import type { EncodedImage } from "../jobs/events.ts";
import type { Image } from "../schema/output.ts";
import type { QueueStore } from "./request-store.ts";

export interface PublishOptions {
  /** `sync_mode` of the request. */
  readonly isInline: boolean;
  readonly baseUrl: string;
}

export class PictureFiles {
  readonly #store: QueueStore;
  readonly #keepMs: number;

  constructor(store: QueueStore, keepMs: number) {
    this.#store = store;
    this.#keepMs = keepMs;
  }

  /** Rejects with `storage_full` when there is no room for the files. */
  async publish(pictures: readonly EncodedImage[], { isInline, baseUrl }: PublishOptions): Promise<Image[]> {
    if (isInline) return pictures.map(inlineImage);
    return Promise.all(
      pictures.map(async ({ bytes, contentType, width, height }) => {
        const key = fileKey(contentType);
        await this.#store.putObject({ key, kind: "file", contentType, expiresAtMs: Date.now() + this.#keepMs }, bytes);
        return { url: `${baseUrl}/files/${key}`, content_type: contentType, width, height };
      }),
    );
  }
}

/** The picture as a data URI. */
export function inlineImage({ bytes, contentType, width, height }: EncodedImage): Image {
  return { url: `data:${contentType};base64,${bytes.toString("base64")}`, content_type: contentType, width, height };
}

/** 144 random bits, and an ending that tells people and tools what is inside. */
export function fileKey(contentType: string): string {
  const extension = /^image\/(jpeg|png|webp|avif|gif)$/.exec(contentType)?.[1];
  const name = randomBytes(18).toString("base64url");
  return extension === undefined ? name : `${name}.${extension === "jpeg" ? "jpg" : extension}`;
}
