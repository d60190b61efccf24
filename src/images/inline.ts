/** Pictures inside JSON. */
import type { Picture } from "../jobs/events.ts";
import type { Image } from "../schema/output.ts";

/** The picture as a data URI. */
export function inlineImage({ bytes, contentType, width, height }: Picture): Image {
  return { url: `data:${contentType};base64,${bytes.toString("base64")}`, content_type: contentType, width, height };
}
