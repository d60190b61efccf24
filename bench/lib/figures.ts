/** What a benchmark reports: one figure with the gate it is held against, and the statistics behind it. */

export interface Figure {
  /** P1 to P10, or the name of the comparison. */
  readonly id: string;
  readonly what: string;
  /** Median of the repeats; NaN for what could not be measured, which `note` explains. */
  readonly value: number;
  readonly p95: number;
  readonly unit: "×" | "ms" | "steps" | "MB" | "dB" | "events/s" | "s" | "";
  /** `most`: the value may be no larger; `least`: no smaller. None for what is only reported. */
  readonly gate?: { readonly most: number } | { readonly least: number };
  readonly note: string;
}

export interface Settings {
  /** Repeats of every arm. */
  readonly repeats: number;
  readonly quick: boolean;
  readonly python: string;
}

export type Benchmark = (settings: Settings) => Promise<Figure[]>;

export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  if (sorted.length === 0) return Number.NaN;
  const position = (sorted.length - 1) * share;
  const low = sorted[Math.floor(position)] ?? Number.NaN;
  const high = sorted[Math.ceil(position)] ?? Number.NaN;
  return low + (high - low) * (position - Math.floor(position));
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

export function p95(values: readonly number[]): number {
  return quantile(values, 0.95);
}

/** Runs two arms as A B, B A, A B, … and gives each pair's results, so that a drift of the machine meets both alike. */
export async function interleave<A, B>(
  repeats: number,
  a: () => Promise<A>,
  b: () => Promise<B>,
): Promise<{ readonly a: A; readonly b: B }[]> {
  const pairs: { a: A; b: B }[] = [];
  for (let repeat = 0; repeat < repeats; repeat += 1) {
    if (repeat % 2 === 0) {
      const first = await a();
      pairs.push({ a: first, b: await b() });
    } else {
      const first = await b();
      pairs.push({ a: await a(), b: first });
    }
  }
  return pairs;
}

/** The ratio a / b of each pair. */
export function ratios(pairs: readonly { readonly a: number; readonly b: number }[]): number[] {
  return pairs.map(({ a, b }) => a / b);
}

export function figure(
  about: Pick<Figure, "id" | "what" | "unit" | "note"> & Partial<Pick<Figure, "gate">>,
  values: readonly number[],
): Figure {
  return { ...about, value: median(values), p95: p95(values) };
}

export function isWithin({ value, gate }: Figure): boolean | undefined {
  if (gate === undefined) return undefined;
  if (Number.isNaN(value)) return false;
  return "most" in gate ? value <= gate.most : value >= gate.least;
}

/** A figure that could not be had, with the reason in its place. */
export function missing(id: string, what: string, reason: string): Figure {
  return { id, what, value: Number.NaN, p95: Number.NaN, unit: "", note: reason };
}
