/** An image to start from, what was painted on it, and its mask; and all of it as a request of a certain size uses it. */
import { contextOf, createCanvas, pngOf } from "./canvas.ts";
import { Drawing } from "./drawing.ts";
import { middleOf, within, type Size } from "./shape.ts";

/** The server keeps no more of an image. */
const MAX_SIDE = 2_048;
/** Of what is painted; a brush needs no finer grid. */
const MAX_LAYER_SIDE = 1_024;
/** A file up to this is kept as it is. */
const MAX_FILE_BYTES = 4_000_000;
const PAPER = "white";

export class InputImage {
  readonly size: Size;
  readonly drawing: Drawing;
  readonly #base: HTMLCanvasElement;
  /** Of a layer's pixels to those of the image. */
  readonly #scale: number;

  private constructor(base: HTMLCanvasElement, mask: CanvasImageSource | undefined) {
    this.#base = base;
    this.size = { width: base.width, height: base.height };
    const layer = within(this.size, MAX_LAYER_SIDE);
    this.#scale = layer.width / base.width;
    this.drawing = new Drawing(layer, this.#scale, mask);
  }

  /** Rejects when the browser cannot open the file. Transparent parts become white, as they do at the server. */
  static async read(image: Blob, mask: Blob | undefined): Promise<InputImage> {
    const opened = await createImageBitmap(image);
    const openedMask = mask === undefined ? undefined : await createImageBitmap(mask);
    const base = paperOf(within(opened, MAX_SIDE));
    contextOf(base).drawImage(opened, 0, 0, base.width, base.height);
    const result = new InputImage(base, openedMask);
    opened.close();
    openedMask?.close();
    return result;
  }

  /** White paper. */
  static paper(size: Size): InputImage {
    return new InputImage(paperOf(size), undefined);
  }

  /** Draws the part that a request of the canvas's size uses. */
  drawTo(canvas: HTMLCanvasElement): void {
    const context = contextOf(canvas);
    const { x, y, width, height } = middleOf(this.size, canvas);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.#base, x, y, width, height, 0, 0, canvas.width, canvas.height);
    this.#drawLayer("paint", context);
  }

  /** White where the image is to change, black elsewhere, at this size; undefined where nothing is masked. */
  maskAt(size: Size): ImageData | undefined {
    if (this.drawing.isBlank("mask")) return undefined;
    const context = contextOf(createCanvas(size));
    this.#drawLayer("mask", context);
    const pixels = context.getImageData(0, 0, size.width, size.height);
    for (let at = 0; at < pixels.data.length; at += 4) {
      const value = (pixels.data[at + 3] ?? 0) > 127 ? 255 : 0;
      pixels.data.set([value, value, value, 255], at);
    }
    return pixels;
  }

  /** What a request of this size sends. */
  async filesAt(size: Size): Promise<{ readonly image: Blob; readonly mask: Blob | null }> {
    const canvas = createCanvas(size);
    this.drawTo(canvas);
    const image = await pngOf(canvas);
    const mask = this.maskAt(size);
    if (mask === undefined) return { image, mask: null };
    contextOf(canvas).putImageData(mask, 0, 0);
    return { image, mask: await pngOf(canvas) };
  }

  /** All of it with what was painted on it, in its own size. */
  async painted(): Promise<Blob> {
    return (await this.filesAt(this.size)).image;
  }

  /** The whole mask; undefined where nothing is masked. */
  async mask(): Promise<Blob | undefined> {
    const { width, height } = this.drawing.canvasOf("mask");
    const pixels = this.maskAt({ width, height });
    if (pixels === undefined) return undefined;
    const canvas = createCanvas({ width, height });
    contextOf(canvas).putImageData(pixels, 0, 0);
    return pngOf(canvas);
  }

  #drawLayer(name: "paint" | "mask", context: CanvasRenderingContext2D): void {
    const { x, y, width, height } = middleOf(this.size, context.canvas);
    const scale = this.#scale;
    context.drawImage(
      this.drawing.canvasOf(name),
      x * scale,
      y * scale,
      width * scale,
      height * scale,
      0,
      0,
      context.canvas.width,
      context.canvas.height,
    );
  }
}

/** The file as it came where it can be kept so, else one of at most the size that the server keeps. */
export async function keptFile(file: Blob, image: InputImage): Promise<Blob> {
  const bitmap = await createImageBitmap(file);
  const isSmall = file.size <= MAX_FILE_BYTES && Math.max(bitmap.width, bitmap.height) <= MAX_SIDE;
  bitmap.close();
  return isSmall ? file : image.painted();
}

function paperOf(size: Size): HTMLCanvasElement {
  const canvas = createCanvas(size);
  const context = contextOf(canvas);
  context.fillStyle = PAPER;
  context.fillRect(0, 0, size.width, size.height);
  return canvas;
}
