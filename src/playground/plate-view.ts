/** A picture in its frame. The frame has its final size before there is anything to see. */
import { element, wantsLessMotion } from "./dom.ts";
import { drawNoise } from "./noise.ts";
import type { Frame, Plate } from "./plate.ts";

const FADE_MS = 320;

export class PlateView {
  readonly root: HTMLElement;
  readonly plate: Plate;
  readonly #frame = element("div", { className: "frame" });
  readonly #label = element("span", { className: "plate-label" });
  readonly #note = element("p", { className: "plate-note" });
  readonly #button: HTMLButtonElement;
  #front = picture();
  #back = picture();
  #shown: Frame | undefined;

  constructor(plate: Plate, fallbackRatio: number, onChoose: (plate: Plate) => void) {
    this.plate = plate;
    const noise = element("canvas", { className: "noise", attributes: { "aria-hidden": "true" } });
    drawNoise(noise, Number(plate.values.seed));
    this.#button = element("button", { className: "plate-button", attributes: { type: "button" } }, [this.#label]);
    this.#button.addEventListener("click", () => onChoose(plate));
    this.#frame.append(noise, this.#back, this.#front, this.#note, this.#button);
    this.root = element("figure", { className: "plate" }, [this.#frame]);
    const { width, height } = plate.values;
    this.#shape(Number(width) / Number(height) || fallbackRatio, Number(width));
  }

  /** @param text What is written on the picture; without it a press opens the picture in full. */
  setLabel(text: string): void {
    if (this.#label.textContent !== text) this.#label.textContent = text;
    if (text === "") this.#button.setAttribute("aria-label", "Look at it in full");
    else this.#button.removeAttribute("aria-label");
  }

  /** What there is to say about a picture that does not form, such as how many are ahead of it. */
  setNote(text: string): void {
    if (this.#note.textContent !== text) this.#note.textContent = text;
  }

  /** Lays this picture over another: only what is right of the divider is seen. Undefined ends it. */
  setDivider(divider: HTMLElement | undefined): void {
    this.root.classList.toggle("divided", divider !== undefined);
    for (const old of this.#frame.querySelectorAll(".divider")) old.remove();
    if (divider !== undefined) this.#frame.append(divider);
  }

  /** Whether work goes on that nothing can be seen of yet. */
  setForming(isForming: boolean): void {
    this.root.classList.toggle("forming", isForming && this.#shown === undefined);
  }

  /** Fades from what was there before; at once where `fade` is false or less motion is wanted. */
  async show(frame: Frame | undefined, fade: boolean): Promise<void> {
    if (frame === undefined || frame === this.#shown) return;
    this.#shown = frame;
    const next = this.#back;
    next.src = frame.url;
    try {
      await next.decode();
    } catch {
      // A newer frame has taken the place of this one, or the pictures have been given back.
      return;
    }
    if (this.#shown !== frame) return;
    this.#shape(frame.width / frame.height, frame.position === 1 ? frame.width : Number.NaN);
    for (const image of [this.#front, next]) for (const animation of image.getAnimations()) animation.cancel();
    this.#back = this.#front;
    this.#front = next;
    this.#back.after(next);
    next.hidden = false;
    next.alt = `${this.plate.values.prompt} (${frame.label})`;
    this.#back.alt = "";
    this.#frame.dataset["label"] = frame.label;
    if (fade && !wantsLessMotion()) {
      next.animate({ opacity: [0, 1] }, { duration: FADE_MS, easing: "ease-out" });
    }
  }

  #shape(ratio: number, width: number): void {
    if (Number.isFinite(ratio) && ratio > 0) this.root.style.setProperty("--ratio", String(ratio));
    if (Number.isFinite(width) && width > 0) this.root.style.setProperty("--width", `${width}px`);
  }
}

function picture(): HTMLImageElement {
  return element("img", { hidden: true, attributes: { alt: "", decoding: "async", draggable: "false" } });
}
