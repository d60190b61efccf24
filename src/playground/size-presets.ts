/** Sizes of about the model's native area, drawn as what they are. */
import { element, find } from "./dom.ts";
import type { Model } from "./service.ts";

const RATIOS = [
  { name: "9:16", ratio: 9 / 16 },
  { name: "2:3", ratio: 2 / 3 },
  { name: "3:4", ratio: 3 / 4 },
  { name: "1:1", ratio: 1 },
  { name: "4:3", ratio: 4 / 3 },
  { name: "3:2", ratio: 3 / 2 },
  { name: "16:9", ratio: 16 / 9 },
] as const;

/** SDXL was trained on sides that are multiples of 64, a sixteenth of its native 1024; other models are treated alike. */
const STEPS_PER_SIDE = 16;
const SIDE_MULTIPLE = 8;
/** Of the drawn outline, in CSS pixels. */
const OUTLINE_AREA = 15 * 15;

export interface NamedSize {
  readonly name: string;
  readonly width: number;
  readonly height: number;
}

export function sizesOf(model: Model): NamedSize[] {
  const sizes = RATIOS.map(({ name, ratio }) => ({ name, ...sizeOfRatio(ratio, model) }));
  // A small model's limits can make two ratios the same size.
  return sizes.filter(
    ({ width, height }, index) =>
      sizes.findIndex((other) => other.width === width && other.height === height) === index,
  );
}

/** For an image of any shape; beyond the outermost presets it is cut. */
export function sizeLike({ width, height }: Omit<NamedSize, "name">, model: Model): Omit<NamedSize, "name"> {
  const ratios = RATIOS.map(({ ratio }) => ratio);
  return sizeOfRatio(Math.min(Math.max(width / height, Math.min(...ratios)), Math.max(...ratios)), model);
}

function sizeOfRatio(ratio: number, model: Model): Omit<NamedSize, "name"> {
  const area = model.nativeWidth * model.nativeHeight;
  const unit = Math.max(SIDE_MULTIPLE, Math.round(Math.sqrt(area) / STEPS_PER_SIDE / SIDE_MULTIPLE) * SIDE_MULTIPLE);
  const side = (length: number): number =>
    Math.min(model.maxSide, Math.max(model.minSide, Math.round(length / unit) * unit));
  return { width: side(Math.sqrt(area * ratio)), height: side(Math.sqrt(area / ratio)) };
}

export class SizePresets {
  readonly #root = find("presets", HTMLElement);
  readonly #onChoose: (width: number, height: number) => void;
  #sizes: NamedSize[] = [];

  constructor(onChoose: (width: number, height: number) => void) {
    this.#onChoose = onChoose;
  }

  setModel(model: Model): void {
    this.#sizes = sizesOf(model);
    this.#root.replaceChildren(...this.#sizes.map((size) => this.#button(size)));
  }

  /** Marks the preset of this size, if it is one. */
  mark(width: number, height: number): void {
    for (const [index, size] of this.#sizes.entries()) {
      const isChosen = size.width === width && size.height === height;
      this.#root.children[index]?.setAttribute("aria-pressed", String(isChosen));
    }
  }

  #button({ name, width, height }: NamedSize): HTMLButtonElement {
    const outline = element("span", { className: "outline", attributes: { "aria-hidden": "true" } });
    const ratio = width / height;
    outline.style.setProperty("width", `${Math.round(Math.sqrt(OUTLINE_AREA * ratio))}px`);
    outline.style.setProperty("height", `${Math.round(Math.sqrt(OUTLINE_AREA / ratio))}px`);
    const label = element("span", { className: "preset-name", textContent: name });
    const button = element(
      "button",
      {
        className: "preset",
        title: `${width} × ${height}`,
        attributes: { type: "button", "aria-label": `${name}, ${width} by ${height} pixels` },
      },
      [outline, label],
    );
    button.addEventListener("click", () => this.#onChoose(width, height));
    return button;
  }
}
