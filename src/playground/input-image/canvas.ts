/** Canvases, and files of what is on them. */
import type { Size } from "./shape.ts";

export function createCanvas({ width, height }: Size): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  return canvas;
}

/** Kept in memory that scripts read fast: all canvases here are read again and again. */
export function contextOf(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (context === null) throw new TypeError("this browser has no canvas");
  return context;
}

/** PNG: what is outside of a mask comes back as it was sent. */
export function pngOf(canvas: HTMLCanvasElement): Promise<Blob> {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => {
      if (blob === null) reject(new Error("the canvas could not be written as PNG"));
      else resolve(blob);
    }, "image/png");
  });
}
