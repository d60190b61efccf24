/** How large the picture in the viewer is: as large as fits, or so many pixels of the screen for each of its own. */
import { find } from "./dom.ts";

const LEVELS = [1, 2, 4, 8] as const;

export class Zoom {
  readonly #view = find("viewer-view", HTMLElement);
  readonly #image = find("viewer-image", HTMLImageElement);
  readonly #button = find("viewer-zoom", HTMLButtonElement);
  /** Of {@link LEVELS}; undefined when the picture fits the window. */
  #level: number | undefined;

  constructor() {
    this.#button.addEventListener("click", () => this.toggle());
    this.#image.addEventListener("load", () => this.#apply());
    addEventListener("resize", () => this.#apply());
    this.#image.addEventListener("click", ({ offsetX, offsetY }) => {
      if (this.#hasMoved) return;
      const { offsetWidth, offsetHeight } = this.#image;
      this.toggle(offsetX / offsetWidth, offsetY / offsetHeight);
    });
    this.#dragToMove();
  }

  /** Whether there is more than the window shows. */
  get isLarge(): boolean {
    return this.#view.scrollWidth > this.#view.clientWidth + 1 || this.#view.scrollHeight > this.#view.clientHeight + 1;
  }

  reset(): void {
    this.#level = undefined;
    this.#apply();
  }

  /** To its pixels and back. @param x @param y The point that stays in sight, 0 to 1. */
  toggle(x = 0.5, y = 0.5): void {
    const larger = LEVELS.findIndex((level) => level > this.#fit * 1.5);
    this.#level = this.#level === undefined ? (larger < 0 ? LEVELS.length - 1 : larger) : undefined;
    this.#apply(x, y);
  }

  step(distance: 1 | -1): void {
    const nearest = LEVELS.findLastIndex((level) => level <= this.#fit);
    const next = (this.#level ?? nearest) + distance;
    this.#level = next < 0 ? undefined : Math.min(next, LEVELS.length - 1);
    this.#apply();
  }

  /** Pixels of the screen for each of the picture's when it fits the window. */
  get #fit(): number {
    const { naturalWidth, naturalHeight } = this.#image;
    const { clientWidth, clientHeight } = this.#view;
    return Math.min(clientWidth / naturalWidth, clientHeight / naturalHeight) * devicePixelRatio;
  }

  #apply(x = 0.5, y = 0.5): void {
    const level = this.#level === undefined ? undefined : LEVELS[this.#level];
    const { naturalWidth, naturalHeight } = this.#image;
    this.#view.classList.toggle("pixels", level !== undefined);
    this.#button.setAttribute("aria-pressed", String(level !== undefined));
    const scale = level ?? this.#fit;
    this.#button.textContent = Number.isFinite(scale) && naturalWidth > 0 ? `${Math.round(scale * 100)} %` : "Zoom";
    if (naturalWidth === 0 || !Number.isFinite(scale)) return;
    this.#image.style.width = `${(naturalWidth * scale) / devicePixelRatio}px`;
    this.#image.style.height = `${(naturalHeight * scale) / devicePixelRatio}px`;
    this.#view.scrollTo(
      x * this.#view.scrollWidth - this.#view.clientWidth / 2,
      y * this.#view.scrollHeight - this.#view.clientHeight / 2,
    );
  }

  #hasMoved = false;

  /** A finger moves what scrolls by itself. */
  #dragToMove(): void {
    this.#view.addEventListener("pointerdown", (event) => {
      this.#hasMoved = false;
      if (event.pointerType !== "mouse" || event.button !== 0 || !this.isLarge) return;
      const stop = new AbortController();
      addEventListener(
        "pointermove",
        ({ movementX, movementY }) => {
          this.#hasMoved ||= Math.abs(movementX) + Math.abs(movementY) > 1;
          this.#view.scrollBy(-movementX, -movementY);
        },
        { signal: stop.signal },
      );
      addEventListener("pointerup", () => stop.abort(), { once: true });
    });
  }
}
