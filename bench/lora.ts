/** What LoRAs cost a step, and what they cost requests that have none. */
import { join } from "node:path";
import { figure, type Figure, type Settings } from "./lib/figures.ts";
import { pythonReport, root, scratchFolder } from "./lib/processes.ts";

interface Report {
  readonly adapted: readonly number[];
  readonly idle: readonly number[];
  readonly switch_ms: readonly number[];
}

export async function lora({ python, repeats }: Settings): Promise<Figure[]> {
  const report = (await pythonReport(python, "lora.py", [
    ...["--model", join(root, "models", "demo")],
    ...["--cache-dir", scratchFolder()],
    ...["--repeats", String(repeats)],
  ])) as Report;
  const id = "LoRA";
  return [
    figure(
      { id, what: "step, rank 16 in all attention layers", unit: "×", gate: { most: 1.15 }, note: "without a LoRA" },
      report.adapted,
    ),
    figure(
      { id, what: "step without one, server with a folder", unit: "×", gate: { most: 1.01 }, note: "server without" },
      report.idle,
    ),
    figure(
      { id, what: "another LoRA than the last, both loaded", unit: "ms", gate: { most: 5 }, note: "the same again" },
      report.switch_ms,
    ),
  ];
}
