/**
 * Images that strangers send, as plain pixels. Only raster formats that browsers know are opened, the first frame of an animation,
 * turned as EXIF says, in sRGB with 8 bits. Together with encode.ts the only user of sharp.
 */
import type { Sharp } from "sharp";
import { Semaphore } from "../async/semaphore.ts";

/** `channels` bytes a pixel, rows from the top, no padding. */
export interface DecodedImage {
  readonly bytes: Buffer;
  readonly width: number;
  readonly height: number;
}

/** What marks the change in a mask: white, black, or the transparent part (as in OpenAI's API; white where there is no transparency). */
export type MaskMark = "white" | "black" | "transparent";

/** The bytes are not an image that can be read; the text says why and goes to the client. */
export class UnreadableImage extends Error {
  override readonly name = "UnreadableImage";
}

/** 64 megapixels: above any camera's photo, and 256 MB at the most while one is decoded. */
const MAX_PIXELS = 64 * 2 ** 20;
/** Requests draw at most 2,048 pixels a side; nothing larger is kept. */
const MAX_SIDE = 2_048;
/** No SVG and no PDF: both are programs that draw, with files and addresses inside. */
const FORMATS = new Set(["jpeg", "png", "webp", "gif", "avif", "heif", "tiff"]);

/** Each decode may hold 256 MB; the others wait. */
const decodes = new Semaphore(2);

/** RGB8 with transparency laid on white, scaled down to fit 2,048 × 2,048. Rejects with {@link UnreadableImage}. */
export function decodeImage(bytes: Uint8Array): Promise<DecodedImage> {
  return decodes.run(() => read(bytes, (image) => image.flatten({ background: "white" }).toColourspace("srgb")));
}

/** One byte a pixel, 255 where the image is to change. Rejects with {@link UnreadableImage}. */
export function decodeMask(bytes: Uint8Array, mark: MaskMark): Promise<DecodedImage> {
  return decodes.run(async () => {
    if (mark === "transparent") {
      const clear = await read(bytes, (image) => image.ensureAlpha().extractChannel("alpha").negate());
      // There may be no alpha channel, or one that is opaque throughout.
      if (!clear.bytes.equals(Buffer.alloc(clear.bytes.byteLength))) return clear;
    }
    return read(bytes, (image) => {
      const grey = image.flatten({ background: "black" }).greyscale().toColourspace("b-w").extractChannel(0);
      return mark === "black" ? grey.negate() : grey;
    });
  });
}

/** The image scaled to exactly this size; its shape is not kept. */
export async function resizeDecoded(image: DecodedImage, width: number, height: number): Promise<Buffer> {
  if (image.width === width && image.height === height) return image.bytes;
  const channels = image.bytes.byteLength === image.width * image.height ? 1 : 3;
  const { default: sharp } = await import("sharp");
  const raw = { width: image.width, height: image.height, channels } as const;
  const resized = sharp(image.bytes, { raw }).resize(width, height, { fit: "fill", kernel: "lanczos3" });
  return (channels === 1 ? resized.toColourspace("b-w") : resized).raw().toBuffer();
}

async function read(bytes: Uint8Array, convert: (image: Sharp) => Sharp): Promise<DecodedImage> {
  const { default: sharp } = await import("sharp");
  try {
    // autoOrient before everything else: the sides that are compared below are those of the turned image.
    const open = (): Sharp =>
      sharp(bytes, { limitInputPixels: MAX_PIXELS, failOn: "error", pages: 1, autoOrient: true });
    const { format, width, height } = await open().metadata();
    if (!FORMATS.has(format)) throw new UnreadableImage(`${format} images are not supported; send JPEG, PNG or WebP`);
    if (width * height > MAX_PIXELS) {
      throw new UnreadableImage(`${width} × ${height} pixels are more than the limit of ${MAX_PIXELS}`);
    }
    const size = { width: MAX_SIDE, height: MAX_SIDE, fit: "inside", withoutEnlargement: true } as const;
    const { data, info } = await convert(open())
      .resize(size)
      .raw({ depth: "uchar" })
      .toBuffer({ resolveWithObject: true });
    return { bytes: data, width: info.width, height: info.height };
  } catch (error) {
    if (error instanceof UnreadableImage) throw error;
    throw new UnreadableImage(reason(error), { cause: error });
  }
}

/** libvips's own texts name its functions; a client can act on two cases only. */
function reason(error: unknown): string {
  const text = error instanceof Error ? error.message : "";
  if (text.includes("pixel limit")) return `it has more than the ${MAX_PIXELS} pixels that are read`;
  return "it is not a readable JPEG, PNG, WebP, AVIF, GIF or TIFF image";
}
