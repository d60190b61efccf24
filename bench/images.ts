/** What a job that starts from an image costs beside one that does not: one encode, and nothing per step. */
import { join } from "node:path";
import { figure, type Figure, type Settings } from "./lib/figures.ts";
import { pythonReport, root, scratchFolder } from "./lib/processes.ts";

interface Report {
  readonly encode: readonly number[];
  readonly image_step: readonly number[];
  readonly mask_step: readonly number[];
}

export async function images({ python, repeats }: Settings): Promise<Figure[]> {
  const report = (await pythonReport(python, "images.py", [
    ...["--model", join(root, "models", "demo")],
    ...["--cache-dir", scratchFolder()],
    // Calls of 50 ms: more of them than of whole images.
    ...["--repeats", String(2 * repeats)],
  ])) as Report;
  const row = (what: string, note: string, most: number, values: readonly number[]): Figure =>
    figure({ id: "images", what, unit: "×", gate: { most }, note }, values);
  return [
    row("encode of an image", "diffusers' image-to-image pipeline, demo model, 256 px", 1.2, report.encode),
    row("a step of image-to-image", "a step from text alone", 1.02, report.image_step),
    row("a step of inpainting", "a step from text alone", 1.02, report.mask_step),
  ];
}
