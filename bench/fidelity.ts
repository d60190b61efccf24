/** Whether previews show the picture that comes (P10): predicted x0 beside the noisy latents, both beside the final picture. */
import { join } from "node:path";
import type { Figure, Settings } from "./lib/figures.ts";
import { pythonReport, root, scratchFolder } from "./lib/processes.ts";

interface Likeness {
  readonly psnr: number;
  readonly cosine: number;
}

interface Report {
  readonly steps: readonly { readonly progress: number; readonly x0: Likeness; readonly latents: Likeness }[];
}

export async function fidelity({ python }: Settings): Promise<Figure[]> {
  const model = process.env["LATENTCAST_BENCH_MODEL"] ?? join(root, "models", "demo");
  const { steps } = (await pythonReport(python, "fidelity.py", [
    ...["--model", model],
    ...["--cache-dir", scratchFolder()],
  ])) as Report;
  const early = steps.filter(({ progress }) => progress < 0.9);
  const worse = early.filter(({ x0, latents }) => x0.psnr <= latents.psnr).length;
  const third = steps.find(({ progress }) => progress >= 0.3);
  const last = steps.at(-1);
  const row = (
    what: string,
    value = Number.NaN,
    unit: Figure["unit"],
    note: string,
    gate?: Figure["gate"],
  ): Figure => ({
    id: "P10",
    what,
    value,
    p95: Number.NaN,
    unit,
    note,
    ...(gate === undefined ? {} : { gate }),
  });
  return [
    row("steps before 90 % where x0 is no better", worse, "", `of ${early.length}, by PSNR with the final picture`, {
      most: 0,
    }),
    row(
      "x0 preview at 30 %, likeness to the final",
      third?.x0.cosine,
      "",
      `cosine; the noisy latents: ${third?.latents.cosine.toFixed(2) ?? "-"}`,
    ),
    row(
      "last x0 preview to the final picture",
      last?.x0.psnr,
      "dB",
      "PSNR at a quarter of the size: the tiny decoder beside the full one",
    ),
  ];
}
