/**
 * The canvas that an image is painted and masked on: with a mouse, a finger, a pen or the keyboard. It shows the image as it will be
 * used, cut to the size of the request, and what the mask marks.
 */
import { find } from "../dom.ts";
import { contextOf } from "./canvas.ts";
import type { Dab, LayerName } from "./drawing.ts";
import type { InputImage } from "./input-image.ts";
import { middleOf, type Size } from "./shape.ts";

export interface Brush {
  /** Undefined while nothing is painted: fingers then scroll the page. */
  readonly layer: LayerName | undefined;
  readonly colour: string;
  readonly isEraser: boolean;
  /** Share of the longer side, 0 to 1. */
  readonly size: number;
}

export interface PadHooks {
  readonly brush: () => Brush;
  /** Something was painted; a stroke may go on. */
  readonly painted: () => void;
  /** A stroke is over. */
  readonly finished: () => void;
  /** For screen readers. */
  readonly say: (words: string) => void;
}

/** A pen that is hardly pressed paints this share of the brush. */
const LIGHTEST = 0.3;
/** Of pens: https://www.w3.org/TR/pointerevents/#the-buttons-property */
const ERASER_BUTTON = 32;
/** Steps of the arrow keys across the longer side. */
const KEY_STEPS = 40;
const FAST = 5;

export class Pad {
  readonly #view = find("pad-view", HTMLElement);
  readonly #canvas = find("pad-canvas", HTMLCanvasElement);
  readonly #cursor = find("pad-cursor", HTMLElement);
  /** The same on the wall, before there is anything else. */
  readonly #blank = find("blank-image", HTMLCanvasElement);
  readonly #hooks: PadHooks;
  #image: InputImage | undefined;
  #stroke: number | "keys" | undefined;
  /** Of the keyboard's brush, 0 to 1 of what is seen. */
  #at = { x: 0.5, y: 0.5 };
  #isQueued = false;

  constructor(hooks: PadHooks) {
    this.#hooks = hooks;
    this.#view.addEventListener("pointerdown", (event) => this.#press(event));
    this.#view.addEventListener("pointermove", (event) => this.#move(event));
    for (const type of ["pointerup", "pointercancel"] as const) {
      this.#view.addEventListener(type, ({ pointerId }) => {
        if (pointerId === this.#stroke) this.#lift();
      });
    }
    this.#view.addEventListener("pointerleave", () => this.#showCursor());
    this.#view.addEventListener("keydown", (event) => this.#type(event));
    this.#view.addEventListener("focus", () => this.#showCursor());
    this.#view.addEventListener("blur", () => {
      if (this.#stroke === "keys") this.#lift();
      this.#showCursor();
    });
  }

  /** @param size Of the request. */
  show(image: InputImage, size: Size): void {
    this.#image = image;
    Object.assign(this.#canvas, { width: size.width, height: size.height });
    find("pad", HTMLElement).style.setProperty("--ratio", String(size.width / size.height));
    this.refresh();
  }

  /** Draws what has changed, once before the next frame however often it is called. */
  refresh(): void {
    this.#view.toggleAttribute("data-paints", this.#hooks.brush().layer !== undefined);
    this.#showCursor();
    if (this.#isQueued) return;
    this.#isQueued = true;
    requestAnimationFrame(() => {
      this.#isQueued = false;
      this.#draw();
    });
  }

  #draw(): void {
    const image = this.#image;
    if (image === undefined) return;
    image.drawTo(this.#canvas);
    const mask = image.maskAt(this.#canvas);
    if (mask !== undefined) veil(this.#canvas, mask);
    const { width, height } = this.#canvas;
    Object.assign(this.#blank, { width, height });
    contextOf(this.#blank).drawImage(this.#canvas, 0, 0);
  }

  #press(event: PointerEvent): void {
    const { layer } = this.#hooks.brush();
    if (layer === undefined || !event.isPrimary || event.button > 0) return;
    event.preventDefault();
    this.#view.focus({ preventScroll: true });
    this.#view.setPointerCapture(event.pointerId);
    this.#begin(event.pointerId, this.#dabOf(event), (event.buttons & ERASER_BUTTON) !== 0);
  }

  #move(event: PointerEvent): void {
    this.#showCursor(event);
    if (event.pointerId !== this.#stroke) return;
    // A fast pen moves several times between two frames.
    const moves = event.getCoalescedEvents();
    for (const move of moves.length === 0 ? [event] : moves) this.#image?.drawing.extend(this.#dabOf(move));
    this.#changed();
  }

  #begin(stroke: number | "keys", dab: Dab, isEraserEnd = false): void {
    const { layer, colour, isEraser } = this.#hooks.brush();
    if (layer === undefined) return;
    this.#stroke = stroke;
    this.#image?.drawing.begin(layer, isEraser || isEraserEnd ? null : colour, dab);
    this.#changed();
  }

  #lift(): void {
    this.#stroke = undefined;
    this.#showCursor();
    this.#hooks.finished();
  }

  #changed(): void {
    this.refresh();
    this.#hooks.painted();
  }

  #type(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey || this.#hooks.brush().layer === undefined) return;
    const steps: Readonly<Record<string, readonly [number, number]>> = {
      ArrowLeft: [-1, 0],
      ArrowRight: [1, 0],
      ArrowUp: [0, -1],
      ArrowDown: [0, 1],
    };
    const step = steps[event.key];
    if (step !== undefined) this.#step(step, event.shiftKey ? FAST : 1);
    else if (event.key === " ") this.#toggleBrush();
    else if (event.key === "Escape" && this.#stroke === "keys") this.#toggleBrush();
    else return;
    event.preventDefault();
    // Escape would also stop a run, or close the dialog.
    event.stopPropagation();
  }

  #toggleBrush(): void {
    if (this.#stroke === "keys") {
      this.#lift();
      this.#hooks.say("Brush up");
      return;
    }
    this.#begin("keys", this.#dabAt(this.#at.x, this.#at.y, 1));
    this.#showCursor();
    this.#hooks.say("Brush down");
  }

  #step([right, down]: readonly [number, number], factor: number): void {
    const { width, height } = this.#canvas;
    const distance = (Math.max(width, height) / KEY_STEPS) * factor;
    this.#at = {
      x: Math.min(1, Math.max(0, this.#at.x + (right * distance) / width)),
      y: Math.min(1, Math.max(0, this.#at.y + (down * distance) / height)),
    };
    this.#showCursor();
    if (this.#stroke !== "keys") return;
    this.#image?.drawing.extend(this.#dabAt(this.#at.x, this.#at.y, 1));
    this.#changed();
  }

  #dabOf({ clientX, clientY, pointerType, pressure }: PointerEvent): Dab {
    const { left, top, width, height } = this.#canvas.getBoundingClientRect();
    const force = pointerType === "pen" ? LIGHTEST + (1 - LIGHTEST) * pressure : 1;
    return this.#dabAt((clientX - left) / width, (clientY - top) / height, force);
  }

  /** @param x @param y 0 to 1 of what is seen. */
  #dabAt(x: number, y: number, force: number): Dab {
    const image = this.#image?.size ?? this.#canvas;
    const seen = middleOf(image, this.#canvas);
    const { size } = this.#hooks.brush();
    return {
      x: seen.x + x * seen.width,
      y: seen.y + y * seen.height,
      width: Math.max(seen.width, seen.height) * size * force,
    };
  }

  /** A ring of the brush's size: below the pointer, or where the keyboard has it. */
  #showCursor(event?: PointerEvent): void {
    const { layer, size } = this.#hooks.brush();
    const isHovered = event !== undefined && event.pointerType !== "touch";
    const hasFocus = this.#view.matches(":focus-visible");
    this.#cursor.hidden = layer === undefined || (!isHovered && !hasFocus);
    if (this.#cursor.hidden) return;
    if (isHovered) {
      const { left, top, width, height } = this.#canvas.getBoundingClientRect();
      this.#at = { x: (event.clientX - left) / width, y: (event.clientY - top) / height };
    }
    const { width, height } = this.#canvas;
    this.#cursor.toggleAttribute("data-down", this.#stroke !== undefined);
    this.#cursor.style.left = `${this.#at.x * 100}%`;
    this.#cursor.style.top = `${this.#at.y * 100}%`;
    this.#cursor.style.width = `${((size * Math.max(width, height)) / width) * 100}%`;
  }
}

/** Hatches what the mask marks, in light and dark, so that it is seen on any image. */
function veil(canvas: HTMLCanvasElement, mask: ImageData): void {
  const context = contextOf(canvas);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  const cell = Math.max(2, Math.round(Math.max(canvas.width, canvas.height) / 64));
  for (let at = 0; at < mask.data.length; at += 4) {
    if ((mask.data[at] ?? 0) < 128) continue;
    const x = (at / 4) % canvas.width;
    const y = Math.floor(at / 4 / canvas.width);
    const inks = Math.floor((x + y) / cell) % 2 === 0 ? LIGHT : DARK;
    for (const [channel, ink] of inks.entries()) {
      const value = pixels.data[at + channel] ?? 0;
      pixels.data[at + channel] = value + (ink - value) * VEIL;
    }
  }
  context.putImageData(pixels, 0, 0);
}

/** The paper and the safelight of the page; their share of what is seen. */
const LIGHT = [246, 242, 234] as const;
const DARK = [196, 84, 40] as const;
const VEIL = 0.62;
