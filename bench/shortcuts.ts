/** What shortcuts save, and how far their pictures are from the plain ones. */
import { join } from "node:path";
import { figure, median, type Figure, type Settings } from "./lib/figures.ts";
import { pythonReport, root, scratchFolder } from "./lib/processes.ts";

type Report = Readonly<Record<string, { readonly ratios: readonly number[]; readonly psnrs: readonly number[] }>>;

export async function shortcuts({ python, repeats }: Settings): Promise<Figure[]> {
  const report = (await pythonReport(python, "shortcuts.py", [
    ...["--model", join(root, "models", "demo")],
    ...["--cache-dir", scratchFolder()],
    ...["--repeats", String(repeats)],
  ])) as Report;
  return Object.entries(report).map(([name, { ratios, psnrs }]) =>
    figure(
      {
        id: "shortcut",
        what: `${name}, whole picture`,
        unit: "×",
        note: `the same picture without; they are ${median(psnrs).toFixed(1)} dB apart`,
      },
      ratios,
    ),
  );
}
