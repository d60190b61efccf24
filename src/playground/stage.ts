/** The pictures that are looked at: one large, or several side by side. */
import { find } from "./dom.ts";
import { PlateView } from "./plate-view.ts";
import type { Plate } from "./plate.ts";

export class Stage {
  readonly #root = find("plates", HTMLElement);
  readonly #onChoose: () => void;
  #views: PlateView[] = [];
  #alone: PlateView | undefined;

  /** @param onChoose Called when one of several pictures has been taken out of the grid, or put back. */
  constructor(onChoose: () => void) {
    this.#onChoose = onChoose;
  }

  get plates(): readonly Plate[] {
    return this.#views.map(({ plate }) => plate);
  }

  /** The pictures that buttons act on: the one taken out of the grid, else all. */
  get chosen(): readonly Plate[] {
    return this.#alone === undefined ? this.plates : [this.#alone.plate];
  }

  get isGrid(): boolean {
    return this.#views.length > 1 && this.#alone === undefined;
  }

  get canReturnToGrid(): boolean {
    return this.#alone !== undefined;
  }

  /** @param fallbackRatio Width by height of frames whose picture does not tell yet. */
  set(plates: readonly Plate[], fallbackRatio: number): void {
    const kept = new Map(this.#views.map((view) => [view.plate, view]));
    for (const plate of this.plates) if (!plates.includes(plate)) plate.release();
    this.#views = plates.map(
      (plate) => kept.get(plate) ?? new PlateView(plate, fallbackRatio, (chosen) => this.#choose(chosen)),
    );
    this.#root.replaceChildren(...this.#views.map(({ root }) => root));
    this.choose(undefined);
  }

  /** Takes one picture out of the grid; undefined puts it back. */
  choose(plate: Plate | undefined): void {
    this.#alone = this.#views.length > 1 ? this.#views.find((view) => view.plate === plate) : undefined;
    const shown = this.#alone === undefined ? this.#views.length : 1;
    this.#root.style.setProperty("--columns", String(Math.ceil(Math.sqrt(shown))));
    this.#root.style.setProperty("--rows", String(Math.ceil(shown / Math.ceil(Math.sqrt(shown)))));
    this.#root.dataset["count"] = String(shown);
    for (const view of this.#views) {
      view.root.hidden = this.#alone !== undefined && view !== this.#alone;
      view.setLabel(shown > 1 ? `Seed ${view.plate.values.seed}` : "");
      view.root.classList.toggle("choosable", this.#views.length > 1);
    }
    this.#onChoose();
  }

  /** Shows each picture as it was at `position`, 0 to 1. */
  show(position: number, { fade }: { readonly fade: boolean }): void {
    for (const view of this.#views) void view.show(view.plate.at(position), fade);
  }

  setForming(isForming: (plate: Plate) => boolean): void {
    for (const view of this.#views) view.setForming(isForming(view.plate));
  }

  #choose(plate: Plate): void {
    this.choose(this.#alone === undefined ? plate : undefined);
  }
}
