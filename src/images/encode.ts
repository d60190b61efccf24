/** Finished images: raw RGB8 to the format that was asked for, with what made them written inside. Sharp is used here and in decode.ts. */
import type { Sharp, SharpOptions } from "sharp";
import type { OutputFormat } from "../schema/input.ts";

export interface RawImage {
  /** height * width * 3 bytes, rows from the top, no padding. */
  readonly rgb: Buffer;
  readonly width: number;
  readonly height: number;
}

const QUALITY = 95;
/** AV1 looks at 80 as the others do at 95. */
const AVIF_QUALITY = 80;
/** Level 1 costs half of level 6's time for a few per cent of size (37 against 69 ms at 1024 pixels). */
const PNG_COMPRESSION_LEVEL = 1;

export const CONTENT_TYPES = {
  jpeg: "image/jpeg",
  png: "image/png",
  webp: "image/webp",
  avif: "image/avif",
} as const satisfies Record<OutputFormat, string>;

export interface EncodeOptions {
  /** Written into the EXIF ImageDescription, which every one of the four formats can carry; null writes nothing. */
  readonly description: string | null;
  /** 1 to 100; of no effect on PNG. */
  readonly quality?: number | undefined;
}

export async function encodeImage(
  raw: RawImage,
  format: OutputFormat,
  { description, quality }: EncodeOptions,
): Promise<Buffer> {
  const { rgb, width, height } = raw;
  let image = await open(rgb, { raw: { width, height, channels: 3 } });
  if (description !== null) {
    image = image.withExif({ IFD0: { Software: "Latentcast", ImageDescription: description } });
  }
  return compress(image, format, quality).toBuffer();
}

/** A preview, which workers send as JPEG, in another format. */
export async function convertPreview(bytes: Buffer, format: OutputFormat, quality?: number): Promise<Buffer> {
  return format === "jpeg" ? bytes : compress(await open(bytes), format, quality).toBuffer();
}

/** Loads sharp now, so that no image waits the 60 ms for it and a broken installation shows at the start. */
export async function loadEncoder(): Promise<void> {
  await import("sharp");
}

async function open(bytes: Buffer, options?: SharpOptions): Promise<Sharp> {
  const { default: sharp } = await import("sharp");
  return sharp(bytes, options);
}

function compress(image: Sharp, format: OutputFormat, quality?: number): Sharp {
  switch (format) {
    case "jpeg":
      // Optimal Huffman tables double the time (17 against 8 ms at 1024 pixels) to save 5 % of the bytes.
      return image.jpeg({ quality: quality ?? QUALITY, optimiseCoding: false });
    case "png":
      return image.png({ compressionLevel: PNG_COMPRESSION_LEVEL });
    case "webp":
      return image.webp({ quality: quality ?? QUALITY });
    case "avif":
      // Effort 2 of 9: AV1 at its default effort takes longer than making the image.
      return image.avif({ quality: quality ?? AVIF_QUALITY, effort: 2 });
  }
}

/** Decodes a preview for a terminal: `columns` by `rows` pixels of RGB8, the image fitted inside. */
export async function decodeForTerminal(bytes: Buffer, columns: number, rows: number): Promise<RawImage> {
  const image = await open(bytes);
  const { data, info } = await image
    .resize(columns, rows, { fit: "inside" })
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { rgb: data, width: info.width, height: info.height };
}
