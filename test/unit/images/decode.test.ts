import { crc32 } from "node:zlib";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { decodeImage, decodeMask, resizeDecoded, UnreadableImage } from "../../../src/images/decode.ts";

type Pixel = readonly [red: number, green: number, blue: number];

/** Left half one colour, right half another. */
function halves(left: Pixel, right: Pixel, width = 16, height = 8): ReturnType<typeof sharp> {
  const bytes = Buffer.alloc(width * height * 3);
  for (let i = 0; i < width * height; i += 1) bytes.set(i % width < width / 2 ? left : right, i * 3);
  return sharp(bytes, { raw: { width, height, channels: 3 } });
}

const RED: Pixel = [255, 0, 0];
const BLUE: Pixel = [0, 0, 255];

function pixel(image: { bytes: Buffer; width: number }, x: number, y: number): number[] {
  return [...image.bytes.subarray((y * image.width + x) * 3, (y * image.width + x) * 3 + 3)];
}

describe("an image that is sent", () => {
  it.each(["png", "webp"] as const)("is read from lossless %s to the bit", async (format) => {
    const image = await decodeImage(await halves(RED, BLUE)[format]({ lossless: true }).toBuffer());
    expect([image.width, image.height, image.bytes.byteLength]).toEqual([16, 8, 16 * 8 * 3]);
    expect(pixel(image, 0, 0)).toEqual(RED);
    expect(pixel(image, 15, 7)).toEqual(BLUE);
  });

  it("is turned as its EXIF says", async () => {
    const turned = await halves(RED, BLUE).withMetadata({ orientation: 6 }).png().toBuffer();
    const image = await decodeImage(turned);
    expect([image.width, image.height]).toEqual([8, 16]);
    expect(pixel(image, 0, 0)).toEqual(RED);
    expect(pixel(image, 0, 15)).toEqual(BLUE);
  });

  it("becomes RGB with 8 bits from CMYK", async () => {
    const image = await decodeImage(await halves(RED, BLUE).toColourspace("cmyk").jpeg({ quality: 100 }).toBuffer());
    expect(image.bytes.byteLength).toBe(16 * 8 * 3);
    const [red = 0, , blue = 255] = pixel(image, 1, 1);
    expect(red).toBeGreaterThan(blue + 100);
  });

  it("becomes RGB with 8 bits from 16 bits", async () => {
    const image = await decodeImage(await halves(RED, BLUE).toColourspace("rgb16").png().toBuffer());
    expect(image.bytes.byteLength).toBe(16 * 8 * 3);
    expect(pixel(image, 0, 0)).toEqual(RED);
  });

  it("becomes RGB from one grey channel", async () => {
    const image = await decodeImage(await halves([90, 90, 90], [90, 90, 90]).greyscale().png().toBuffer());
    expect(pixel(image, 3, 3)).toEqual([90, 90, 90]);
  });

  it("has white where it was transparent", async () => {
    const clear = sharp({ create: { width: 4, height: 4, channels: 4, background: { r: 255, g: 0, b: 0, alpha: 0 } } });
    expect(pixel(await decodeImage(await clear.png().toBuffer()), 0, 0)).toEqual([255, 255, 255]);
  });

  it("is the first frame of an animation", async () => {
    const frames = await sharp([await halves(RED, RED).png().toBuffer(), await halves(BLUE, BLUE).png().toBuffer()], {
      join: { animated: true },
    })
      .gif()
      .toBuffer();
    const image = await decodeImage(frames);
    expect([image.width, image.height]).toEqual([16, 8]);
    expect(pixel(image, 0, 0)).toEqual(RED);
  });

  it("is scaled down to what requests can draw", async () => {
    const wide = sharp({ create: { width: 20_000, height: 10, channels: 3, background: "red" } });
    const image = await decodeImage(await wide.png().toBuffer());
    expect([image.width, image.height]).toEqual([2_048, 1]);
  });

  it("may have one pixel", async () => {
    const dot = sharp({ create: { width: 1, height: 1, channels: 3, background: "red" } });
    expect(await decodeImage(await dot.png().toBuffer())).toMatchObject({ width: 1, height: 1 });
  });

  it.each([
    ["nothing", Buffer.alloc(0)],
    ["noise", Buffer.from("not an image at all")],
    [
      "an SVG",
      Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'),
    ],
  ])("is refused when it is %s", async (_, bytes) => {
    await expect(decodeImage(bytes)).rejects.toBeInstanceOf(UnreadableImage);
  });

  it("is refused when it is cut off", async () => {
    const whole = await halves(RED, BLUE, 256, 256).png().toBuffer();
    await expect(decodeImage(whole.subarray(0, whole.byteLength / 2))).rejects.toBeInstanceOf(UnreadableImage);
  });

  it("is refused before it is decoded when it has too many pixels", async () => {
    const bytes = await sharp({ create: { width: 1, height: 1, channels: 3, background: "red" } })
      .png()
      .toBuffer();
    // IHDR: its width and height are the bytes 16 to 23, its checksum covers the bytes 12 to 28.
    bytes.writeUInt32BE(20_000, 16);
    bytes.writeUInt32BE(20_000, 20);
    bytes.writeUInt32BE(crc32(bytes.subarray(12, 29)), 29);
    await expect(decodeImage(bytes)).rejects.toThrow("pixels that are read");
  });
});

describe("a mask", () => {
  const hole = async (): Promise<Buffer> => {
    const bytes = Buffer.alloc(4 * 4 * 4, 255);
    bytes[3] = 0;
    return sharp(bytes, { raw: { width: 4, height: 4, channels: 4 } })
      .png()
      .toBuffer();
  };

  it("marks the change in white", async () => {
    const mask = await decodeMask(await halves([0, 0, 0], [255, 255, 255]).png().toBuffer(), "white");
    expect([...mask.bytes.subarray(0, 16)]).toEqual([...Array(8).fill(0), ...Array(8).fill(255)]);
  });

  it("marks the change by transparency where that is asked for", async () => {
    expect([...(await decodeMask(await hole(), "transparent")).bytes]).toEqual([255, ...Array(15).fill(0)]);
  });

  it.each<[string, (mask: ReturnType<typeof sharp>) => ReturnType<typeof sharp>]>([
    ["16 bits", (mask) => mask.toColourspace("rgb16").png()],
    ["a palette", (mask) => mask.png({ palette: true })],
    ["grey", (mask) => mask.greyscale().png()],
    ["WebP", (mask) => mask.webp({ lossless: true })],
  ])("marks the change by transparency in %s", async (_, encode) => {
    const mask = await decodeMask(await encode(sharp(await hole())).toBuffer(), "transparent");
    expect([...mask.bytes]).toEqual([255, ...Array(15).fill(0)]);
  });

  it("with an alpha channel that is opaque marks the change in white", async () => {
    const opaque = await halves([0, 0, 0], [255, 255, 255]).ensureAlpha().png().toBuffer();
    const mask = await decodeMask(opaque, "transparent");
    expect([mask.bytes[0], mask.bytes[15]]).toEqual([0, 255]);
  });

  it("without transparency marks the change in white also where transparency is asked for", async () => {
    const mask = await decodeMask(await halves([0, 0, 0], [255, 255, 255]).png().toBuffer(), "transparent");
    expect(mask.bytes[0]).toBe(0);
    expect(mask.bytes[15]).toBe(255);
  });
});

describe("resizing", () => {
  it("leaves an image of the right size as it is", async () => {
    const image = await decodeImage(await halves(RED, BLUE).png().toBuffer());
    expect(await resizeDecoded(image, 16, 8)).toBe(image.bytes);
  });

  it("gives exactly the size that was asked for, for images and masks", async () => {
    const bytes = await halves(RED, BLUE).png().toBuffer();
    expect((await resizeDecoded(await decodeImage(bytes), 24, 40)).byteLength).toBe(24 * 40 * 3);
    expect((await resizeDecoded(await decodeMask(bytes, "white"), 24, 40)).byteLength).toBe(24 * 40);
  });
});
