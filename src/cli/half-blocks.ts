/** Images as text: each character cell shows two pixels, the upper as the block's colour and the lower as its background. */
import type { RawImage } from "../images/encode.ts";

const UPPER_HALF = "▀";

/** One line of true-colour text per two rows of pixels; an odd last row has the terminal's background below it. */
export function halfBlocks({ rgb, width, height }: RawImage): string[] {
  const lines: string[] = [];
  for (let y = 0; y < height; y += 2) {
    let line = "";
    let colours = "";
    for (let x = 0; x < width; x += 1) {
      const upper = pixel(rgb, y * width + x);
      const lower = y + 1 < height ? `48;2;${pixel(rgb, (y + 1) * width + x)}` : "49";
      const next = `\u001B[38;2;${upper};${lower}m`;
      line += next === colours ? UPPER_HALF : `${next}${UPPER_HALF}`;
      colours = next;
    }
    lines.push(line);
  }
  return lines;
}

function pixel(rgb: Buffer, index: number): string {
  const offset = index * 3;
  return `${rgb[offset] ?? 0};${rgb[offset + 1] ?? 0};${rgb[offset + 2] ?? 0}`;
}
