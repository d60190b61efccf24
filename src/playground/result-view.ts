/** Any JSON a model answers: what names pictures is shown as pictures, everything else as it is. */
import { element } from "./dom.ts";
import { isRecord, list, text } from "./json.ts";

/** Data URIs are shown as the pictures they are; as text, this much of them is plenty. */
const MAX_TEXT_LENGTH = 200;

/** Formats that browsers show and that cannot bring scripts along. */
const IMAGE_TYPE = /^image\/(?:jpeg|png|webp|avif|gif)$/;

export function resultView(result: unknown): HTMLElement[] {
  const pictures = picturesOf(result).map((url) =>
    element("img", { attributes: { src: url, alt: "Picture of the result" } }),
  );
  if (pictures.length > 0) return pictures;
  return [element("pre", { className: "json", textContent: printed(result), attributes: { tabindex: "0" } })];
}

/** Of an object with `url` and `content_type`, of one below `image`, or of a list of them below `images`. */
function picturesOf(result: unknown): string[] {
  if (!isRecord(result)) return [];
  return [result, result["image"], ...list(result["images"])].flatMap((value) => {
    if (!isRecord(value)) return [];
    const url = text(value["url"]);
    return url !== "" && IMAGE_TYPE.test(text(value["content_type"])) ? [url] : [];
  });
}

function printed(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) => shortened(part), 2) ?? "";
}

function shortened(part: unknown): unknown {
  if (typeof part !== "string" || part.length <= MAX_TEXT_LENGTH) return part;
  return `${part.slice(0, MAX_TEXT_LENGTH)}… (${part.length} characters)`;
}
