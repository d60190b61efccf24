/** The pictures that are looked at: one large, or several side by side. */
import { find } from "./dom.ts";
import { createDivider } from "./divider.ts";
import { PlateView } from "./plate-view.ts";
import type { Plate } from "./plate.ts";

export interface StageHooks {
  /** One of several pictures has been taken out of the grid, or put back. */
  readonly chosen: () => void;
  /** A picture that is alone on the stage has been pressed. */
  readonly opened: (plate: Plate) => void;
}

export class Stage {
  readonly #root = find("plates", HTMLElement);
  readonly #hooks: StageHooks;
  #views: PlateView[] = [];
  #alone: PlateView | undefined;
  #isDivided = false;

  constructor(hooks: StageHooks) {
    this.#hooks = hooks;
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

  /** Whether two pictures of one shape are there, of which one can be laid over the other. */
  get canDivide(): boolean {
    const [first, second, ...others] = this.plates;
    if (first === undefined || second === undefined || others.length > 0 || !this.isGrid) return false;
    return ratioOf(first) === ratioOf(second);
  }

  get isDivided(): boolean {
    return this.#isDivided && this.canDivide;
  }

  /** Two pictures in one frame with a divider between them, or side by side. */
  divide(isDivided: boolean): void {
    this.#isDivided = isDivided;
    this.#arrange();
  }

  /** @param fallbackRatio Width by height of frames whose picture does not tell yet. */
  set(plates: readonly Plate[], fallbackRatio: number): void {
    const kept = new Map(this.#views.map((view) => [view.plate, view]));
    for (const plate of this.plates) if (!plates.includes(plate)) plate.release();
    this.#views = plates.map(
      (plate) => kept.get(plate) ?? new PlateView(plate, fallbackRatio, (chosen) => this.#choose(chosen)),
    );
    this.#isDivided = false;
    this.#root.replaceChildren(...this.#views.map(({ root }) => root));
    this.choose(undefined);
  }

  /** Takes one picture out of the grid; undefined puts it back. */
  choose(plate: Plate | undefined): void {
    this.#alone = this.#views.length > 1 ? this.#views.find((view) => view.plate === plate) : undefined;
    this.#arrange();
  }

  #arrange(): void {
    const shown = this.#alone === undefined && !this.isDivided ? this.#views.length : 1;
    this.#root.toggleAttribute("data-divided", this.isDivided);
    for (const [index, view] of this.#views.entries())
      view.setDivider(this.isDivided && index === 1 ? createDivider() : undefined);
    this.#root.style.setProperty("--columns", String(Math.ceil(Math.sqrt(shown))));
    this.#root.style.setProperty("--rows", String(Math.ceil(shown / Math.ceil(Math.sqrt(shown)))));
    this.#root.dataset["count"] = String(shown);
    for (const view of this.#views) {
      view.root.hidden = this.#alone !== undefined && view !== this.#alone;
      view.setLabel(shown > 1 ? `Seed ${view.plate.values.seed}` : "");
    }
    this.#hooks.chosen();
  }

  /** Shows each picture as it was at `position`, 0 to 1. */
  show(position: number, { fade }: { readonly fade: boolean }): void {
    for (const view of this.#views) void view.show(view.plate.at(position), fade);
  }

  setForming(isForming: (plate: Plate) => boolean): void {
    for (const view of this.#views) view.setForming(isForming(view.plate));
  }

  setNotes(noteOf: (plate: Plate) => string): void {
    for (const view of this.#views) view.setNote(noteOf(view.plate));
  }

  #choose(plate: Plate): void {
    if (this.isGrid) this.choose(plate);
    else this.#hooks.opened(plate);
  }
}

function ratioOf({ values }: Plate): number {
  return Number(values.width) / Number(values.height);
}
