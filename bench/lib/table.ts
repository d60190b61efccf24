/** The one table that a run prints. */
import { isWithin, type Figure } from "./figures.ts";

const HEADINGS = ["", "figure", "median", "p95", "gate", "", "of"] as const;

export function table(figures: readonly Figure[]): string {
  const rows = figures.map((figure) => [
    figure.id,
    figure.what,
    number(figure.value, figure.unit),
    number(figure.p95, figure.unit),
    gateText(figure),
    verdict(figure),
    figure.note,
  ]);
  const widths = HEADINGS.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) =>
        column === 2 || column === 3 ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join("  ")
      .trimEnd();
  return [line(HEADINGS), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n");
}

function number(value: number, unit: Figure["unit"]): string {
  if (Number.isNaN(value)) return "-";
  const digits = unit === "×" ? 3 : value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${unit}`.trimEnd();
}

function gateText({ gate, unit }: Figure): string {
  if (gate === undefined) return "";
  return "most" in gate ? `≤ ${gate.most} ${unit}`.trimEnd() : `≥ ${gate.least} ${unit}`.trimEnd();
}

function verdict(figure: Figure): string {
  const within = isWithin(figure);
  if (within === undefined) return "";
  return within ? "ok" : "OVER";
}
