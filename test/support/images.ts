/** Input images for tests: pixels that have been decoded, and files that clients would send. */
import sharp from "sharp";
import { InputImages } from "../../src/images/inputs.ts";

export function inputImages(width: number, height: number, { hasMask = false } = {}): InputImages {
  const image = { bytes: Buffer.alloc(width * height * 3, 7), width, height };
  const mask = hasMask ? { bytes: Buffer.alloc(width * height, 255), width, height } : null;
  return new InputImages({ image, mask, digests: { image: "sha256:1", mask: hasMask ? "sha256:2" : null } });
}

/** One colour on the left, another on the right. */
export async function twoColours(width: number, height: number, left: string, right: string): Promise<Buffer> {
  const half = await sharp({ create: { width: Math.ceil(width / 2), height, channels: 3, background: left } })
    .png()
    .toBuffer();
  return sharp({ create: { width, height, channels: 3, background: right } })
    .composite([{ input: half, left: 0, top: 0 }])
    .png()
    .toBuffer();
}

/** Opaque, but for a transparent square in its middle, half as wide and high. */
export async function withHole(side: number): Promise<Buffer> {
  const quarter = side / 4;
  const alpha = Buffer.alloc(side * side, 255);
  for (let y = quarter; y < side - quarter; y += 1) alpha.fill(0, y * side + quarter, y * side + side - quarter);
  return sharp({ create: { width: side, height: side, channels: 3, background: "black" } })
    .joinChannel(alpha, { raw: { width: side, height: side, channels: 1 } })
    .png()
    .toBuffer();
}

export function dataUri(bytes: Buffer, type = "image/png"): string {
  return `data:${type};base64,${bytes.toString("base64")}`;
}

/** What is written into an image by whoever made it. */
export async function modelOf(image: string | Buffer): Promise<string | undefined> {
  const bytes = typeof image === "string" ? Buffer.from(image.slice(image.indexOf(",") + 1), "base64") : image;
  const { exif } = await sharp(bytes).metadata();
  return /"model":"([^"]*)"/.exec(exif?.toString("latin1") ?? "")?.[1];
}
