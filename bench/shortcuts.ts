/** What shortcuts save, and how far their pictures are from the plain ones. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { figure, median, type Figure, type Settings } from "./lib/figures.ts";
import { pinned, root, scratchFolder } from "./lib/processes.ts";

type Report = Readonly<Record<string, { readonly ratios: readonly number[]; readonly psnrs: readonly number[] }>>;

export async function shortcuts({ python, repeats }: Settings): Promise<Figure[]> {
  const { stdout } = await promisify(execFile)(
    python,
    [
      join(root, "bench", "shortcuts.py"),
      ...["--model", join(root, "models", "demo")],
      ...["--cache-dir", scratchFolder()],
      ...["--repeats", String(repeats)],
    ],
    { env: pinned({ PYTHONPATH: join(root, "python") }), timeout: 600_000 },
  );
  const report = JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Report;
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
