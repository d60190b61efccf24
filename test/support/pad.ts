/** What hands do on the page: bring files in, and paint. */
import type { Page } from "playwright-core";

export interface FileOfPage {
  readonly name: string;
  readonly mimeType: string;
  readonly buffer: Buffer;
}

/** What a browser tells the page when files come from outside: playwright has no drag and drop of files, and no clipboard with files. */
export async function bring(page: Page, way: "drop" | "paste", file: FileOfPage): Promise<void> {
  await page.evaluate(
    ({ kind, name, type, data }) => {
      const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
      const transfer = new DataTransfer();
      transfer.items.add(new File([bytes], name, { type }));
      const common = { bubbles: true, cancelable: true };
      if (kind === "paste") {
        document.body.dispatchEvent(new ClipboardEvent("paste", { ...common, clipboardData: transfer }));
        return;
      }
      for (const step of ["dragover", "drop"])
        document.body.dispatchEvent(new DragEvent(step, { ...common, dataTransfer: transfer }));
    },
    { kind: way, name: file.name, type: file.mimeType, data: file.buffer.toString("base64") },
  );
}

/** 0 to 1 of the canvas. */
export type Point = readonly [x: number, y: number];

/** One stroke of the mouse. */
export async function stroke(page: Page, points: readonly Point[]): Promise<void> {
  const pad = page.locator("#pad-view");
  await pad.scrollIntoViewIfNeeded();
  const box = (await pad.boundingBox())!;
  const at = ([x, y]: Point): [number, number] => [box.x + x * box.width, box.y + y * box.height];
  await page.mouse.move(...at(points[0]!));
  await page.mouse.down();
  for (const point of points.slice(1)) await page.mouse.move(...at(point), { steps: 5 });
  await page.mouse.up();
}

/** RGB of a pixel of the canvas, by its place. */
export function pixelOf(page: Page, [x, y]: Point): Promise<number[]> {
  return page.locator("#pad-canvas").evaluate(
    (canvas, [across, down]) => {
      const { width, height } = canvas as HTMLCanvasElement;
      const context = (canvas as HTMLCanvasElement).getContext("2d")!;
      return [...context.getImageData(Math.floor(across * width), Math.floor(down * height), 1, 1).data.slice(0, 3)];
    },
    [x, y] as const,
  );
}
