/** What a picture is before its first step. */

/** The latents of SDXL's native size. */
const SIDE = 128;

/** The same for the same seed. */
export function drawNoise(canvas: HTMLCanvasElement, seed: number): void {
  canvas.width = SIDE;
  canvas.height = SIDE;
  const context = canvas.getContext("2d");
  if (context === null) return;
  const image = context.createImageData(SIDE, SIDE);
  let state = (Number.isFinite(seed) ? seed : 0) >>> 0;
  for (let index = 0; index < image.data.length; index += 4) {
    // Mulberry32: four lines, and nobody will look for patterns in it.
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    const grey = 128 + (((mixed ^ (mixed >>> 14)) >>> 24) - 128) * 0.9;
    image.data.set([grey, grey, grey, 255], index);
  }
  context.putImageData(image, 0, 0);
}
