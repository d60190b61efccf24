/** The line below the picture: how far a run is, and after it the handle to go back along it. */
import { element, find } from "./dom.ts";
import type { Plate } from "./plate.ts";

/** A picture forms again in this time, however long it took. */
const REPLAY_MS = 2_400;

export class Timeline {
  readonly #progress = find("progress", HTMLElement);
  readonly #fill = find("progress-fill", HTMLElement);
  readonly #scrubber = find("scrubber", HTMLElement);
  readonly #range = find("scrub", HTMLInputElement);
  readonly #ticks = find("ticks", HTMLElement);
  readonly #show: (position: number, fade: boolean) => void;
  #moments: { readonly position: number; readonly label: string }[] = [];
  #replay = 0;

  /** @param show Called with a position from 0 to 1 when the visitor wants to see the pictures as they were there. */
  constructor(show: (position: number, fade: boolean) => void) {
    this.#show = show;
    this.#range.addEventListener("input", () => {
      cancelAnimationFrame(this.#replay);
      this.#go(Number(this.#range.value), false);
    });
  }

  /** @param progress From 0 to 1; null when there is nothing to wait for. */
  setProgress(progress: number | null, text: string): void {
    this.#progress.hidden = progress === null;
    if (progress === null) return;
    this.#scrubber.hidden = true;
    cancelAnimationFrame(this.#replay);
    this.#fill.style.setProperty("--progress", String(progress));
    this.#progress.setAttribute("aria-valuenow", String(Math.round(progress * 100)));
    this.#progress.setAttribute("aria-valuetext", text);
  }

  /** Offers the way back through these pictures. Returns whether there is one. */
  offer(plates: readonly Plate[]): boolean {
    const moments = new Map(plates.flatMap(({ frames }) => frames).map(({ position, label }) => [position, label]));
    this.#moments = [...moments]
      .map(([position, label]) => ({ position, label }))
      .sort((a, b) => a.position - b.position);
    const last = this.#moments.length - 1;
    this.#scrubber.hidden = last < 1;
    this.#range.max = String(Math.max(0, last));
    this.#range.value = this.#range.max;
    this.#describe(last);
    this.#ticks.replaceChildren(...this.#moments.map(() => element("i")));
    return last >= 1;
  }

  /** Lets the pictures form again. */
  replay(): void {
    cancelAnimationFrame(this.#replay);
    const startedAt = performance.now();
    let shown = -1;
    const frame = (now: number): void => {
      const last = this.#moments.length - 1;
      const index = Math.min(last, Math.floor(((now - startedAt) / REPLAY_MS) * (last + 1)));
      if (index > shown) {
        shown = index;
        this.#range.value = String(index);
        this.#go(index, true);
      }
      if (index < last) this.#replay = requestAnimationFrame(frame);
    };
    this.#replay = requestAnimationFrame(frame);
  }

  #go(index: number, fade: boolean): void {
    this.#describe(index);
    const moment = this.#moments[index];
    if (moment !== undefined) this.#show(moment.position, fade);
  }

  #describe(index: number): void {
    this.#range.setAttribute("aria-valuetext", this.#moments[index]?.label ?? "");
    const share = this.#moments.length < 2 ? 1 : index / (this.#moments.length - 1);
    this.#scrubber.style.setProperty("--progress", String(share));
  }
}
