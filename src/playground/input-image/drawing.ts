/** What was painted on an image: strokes of colour, and strokes of a mask. Each action can be undone. */
import { contextOf, createCanvas } from "./canvas.ts";
import type { Size } from "./shape.ts";

export type LayerName = "paint" | "mask";

/** A point of a stroke, in pixels of the image. */
export interface Dab {
  readonly x: number;
  readonly y: number;
  /** Of the brush there; pens press it wider. */
  readonly width: number;
}

/** `colour` is one of CSS, or null where the brush takes away. */
interface Stroke {
  readonly kind: "stroke";
  readonly layer: LayerName;
  readonly colour: string | null;
  readonly dabs: Dab[];
}

/** All of the layer becomes this colour, or nothing. */
interface Fill {
  readonly kind: "fill";
  readonly layer: LayerName;
  readonly colour: string | null;
}

type Action = Stroke | Fill;

/** Older actions become part of the layer for good. */
const MAX_ACTIONS = 100;

export class Drawing {
  readonly #layers: Readonly<Record<LayerName, Layer>>;
  #done: Action[] = [];
  #undone: Action[] = [];

  /** @param size Of the layers. @param scale Of a layer's pixels to those of the image. @param mask White where the image is to change. */
  constructor(size: Size, scale: number, mask: CanvasImageSource | undefined) {
    this.#layers = { paint: new Layer(size, scale, undefined), mask: new Layer(size, scale, mask) };
  }

  get canUndo(): boolean {
    return this.#done.length > 0;
  }

  get canRedo(): boolean {
    return this.#undone.length > 0;
  }

  /** Transparent where nothing was painted. */
  canvasOf(layer: LayerName): HTMLCanvasElement {
    return this.#layers[layer].canvas;
  }

  isBlank(layer: LayerName): boolean {
    return this.#layers[layer].isBlank;
  }

  begin(layer: LayerName, colour: string | null, dab: Dab): void {
    this.#do({ kind: "stroke", layer, colour, dabs: [dab] });
  }

  /** Goes on with the stroke that was begun last. */
  extend(dab: Dab): void {
    const stroke = this.#done.at(-1);
    if (stroke?.kind !== "stroke") return;
    stroke.dabs.push(dab);
    this.#layers[stroke.layer].drawSegment(stroke, stroke.dabs.length - 1);
  }

  fill(layer: LayerName, colour: string | null): void {
    this.#do({ kind: "fill", layer, colour });
  }

  undo(): void {
    const action = this.#done.pop();
    if (action === undefined) return;
    this.#undone.push(action);
    this.#layers[action.layer].redraw(this.#done.filter(({ layer }) => layer === action.layer));
  }

  redo(): void {
    const action = this.#undone.pop();
    if (action === undefined) return;
    this.#done.push(action);
    this.#layers[action.layer].draw(action);
  }

  #do(action: Action): void {
    this.#undone = [];
    this.#done.push(action);
    this.#layers[action.layer].draw(action);
    if (this.#done.length <= MAX_ACTIONS) return;
    const oldest = this.#done.shift();
    if (oldest !== undefined) this.#layers[oldest.layer].settle(oldest);
  }
}

class Layer {
  readonly canvas: HTMLCanvasElement;
  /** What can no longer be undone. */
  readonly #settled: HTMLCanvasElement;
  readonly #scale: number;
  /** Undefined when not known. */
  #isBlank: boolean | undefined;

  constructor(size: Size, scale: number, content: CanvasImageSource | undefined) {
    this.#scale = scale;
    this.#settled = createCanvas(size);
    if (content !== undefined) drawWhiteOf(contextOf(this.#settled), content, size);
    this.canvas = createCanvas(size);
    contextOf(this.canvas).drawImage(this.#settled, 0, 0);
  }

  get isBlank(): boolean {
    return (this.#isBlank ??= isBlank(this.canvas));
  }

  draw(action: Action): void {
    this.#isBlank = undefined;
    this.#drawTo(contextOf(this.canvas), action);
  }

  drawSegment(stroke: Stroke, index: number): void {
    this.#isBlank = undefined;
    drawSegment(contextOf(this.canvas), stroke, index, this.#scale);
  }

  redraw(actions: readonly Action[]): void {
    this.#isBlank = undefined;
    const context = contextOf(this.canvas);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.drawImage(this.#settled, 0, 0);
    for (const action of actions) this.#drawTo(context, action);
  }

  settle(action: Action): void {
    this.#drawTo(contextOf(this.#settled), action);
  }

  #drawTo(context: CanvasRenderingContext2D, action: Action): void {
    if (action.kind === "stroke") {
      for (const index of action.dabs.keys()) drawSegment(context, action, index, this.#scale);
      return;
    }
    const { width, height } = context.canvas;
    context.globalCompositeOperation = "source-over";
    context.clearRect(0, 0, width, height);
    if (action.colour === null) return;
    context.fillStyle = action.colour;
    context.fillRect(0, 0, width, height);
  }
}

function drawSegment(context: CanvasRenderingContext2D, { colour, dabs }: Stroke, index: number, scale: number): void {
  const to = dabs[index];
  if (to === undefined) return;
  const from = dabs[index - 1] ?? to;
  context.globalCompositeOperation = colour === null ? "destination-out" : "source-over";
  context.strokeStyle = colour ?? "black";
  context.lineWidth = to.width * scale;
  context.lineCap = "round";
  context.beginPath();
  context.moveTo(from.x * scale, from.y * scale);
  // A line of no length has round ends: a dot.
  context.lineTo(to.x * scale, to.y * scale);
  context.stroke();
  context.globalCompositeOperation = "source-over";
}

function isBlank(canvas: HTMLCanvasElement): boolean {
  const { data } = contextOf(canvas).getImageData(0, 0, canvas.width, canvas.height);
  for (let at = 3; at < data.length; at += 4) if ((data[at] ?? 0) > 127) return false;
  return true;
}

/** A mask file says with white what a layer says with what is opaque. */
function drawWhiteOf(context: CanvasRenderingContext2D, mask: CanvasImageSource, { width, height }: Size): void {
  context.drawImage(mask, 0, 0, width, height);
  const pixels = context.getImageData(0, 0, width, height);
  for (let at = 0; at < pixels.data.length; at += 4) {
    pixels.data[at + 3] = (pixels.data[at] ?? 0) > 127 ? 255 : 0;
  }
  context.putImageData(pixels, 0, 0);
}
