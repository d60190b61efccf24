/** What it costs that a worker has several models: nothing while they are loaded, and a load where they are not. */
import { join } from "node:path";
import { figure, type Figure, type Settings } from "./lib/figures.ts";
import { pythonReport, root, scratchFolder } from "./lib/processes.ts";

interface Report {
  readonly after_each_other: readonly number[];
  readonly together: readonly number[];
  readonly swap: readonly number[];
}

export async function models({ python, repeats }: Settings): Promise<Figure[]> {
  const report = (await pythonReport(python, "models.py", [
    ...["--model", join(root, "models", "demo")],
    ...["--cache-dir", scratchFolder()],
    // Images of 2 s in pairs: more of them than of longer runs.
    ...["--repeats", String(2 * repeats)],
  ])) as Report;
  const row = (what: string, note: string, values: readonly number[]): Figure =>
    figure({ id: "models", what, unit: "×", gate: { most: 1.02 }, note }, values);
  return [
    row("two loaded models, image after image", "one model, demo at 256 px", report.after_each_other),
    row("two loaded models, two jobs in turns", "two jobs of one model", report.together),
    figure(
      { id: "models", what: "a model in the place of another", unit: "s", note: "demo, files in memory" },
      report.swap,
    ),
  ];
}
