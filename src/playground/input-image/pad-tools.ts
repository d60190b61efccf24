/** What is beside the canvas: which layer is painted, with what, and the ways back. */
import { element, find } from "../dom.ts";
import type { LayerName } from "./drawing.ts";
import type { Brush } from "./pad.ts";

/** Light and dark, warm and cold: enough for a landscape in strokes. Any other colour can be chosen. */
const COLOURS = [
  ["white", "#f6f4ee"],
  ["sky blue", "#8fb9e0"],
  ["night blue", "#22305c"],
  ["sun yellow", "#f7c64a"],
  ["orange", "#dd6a33"],
  ["red", "#b3322e"],
  ["green", "#54803f"],
  ["brown", "#6d4b32"],
  ["black", "#1c1a19"],
] as const;
const FIRST_COLOUR = 4;

export interface ToolHooks {
  /** Another brush, or another layer. */
  readonly changed: () => void;
  /** All of the layer is to have this colour, or nothing. */
  readonly fill: (layer: LayerName, colour: string | null) => void;
  readonly undo: () => void;
  readonly redo: () => void;
}

export class PadTools {
  readonly #hooks: ToolHooks;
  readonly #root = find("pad", HTMLElement);
  readonly #dialog = find("pad-dialog", HTMLDialogElement);
  readonly #size = find("brush-size", HTMLInputElement);
  readonly #own = find("brush-own", HTMLInputElement);
  #layer: LayerName | undefined;
  #isEraser = false;

  constructor(hooks: ToolHooks) {
    this.#hooks = hooks;
    for (const layer of ["paint", "mask"] as const) {
      find(`tool-${layer}`, HTMLButtonElement).addEventListener("click", () =>
        this.choose(this.#layer === layer ? undefined : layer),
      );
    }
    find("tool-erase", HTMLButtonElement).addEventListener("click", () => {
      this.#isEraser = !this.#isEraser;
      this.#refresh();
    });
    this.#size.addEventListener("input", () => this.#refresh());
    const fill = (colour: string | null): void => {
      if (this.#layer !== undefined) hooks.fill(this.#layer, colour);
    };
    find("tool-fill", HTMLButtonElement).addEventListener("click", () => fill(this.brush.colour));
    find("tool-clear", HTMLButtonElement).addEventListener("click", () => fill(null));
    find("tool-undo", HTMLButtonElement).addEventListener("click", hooks.undo);
    find("tool-redo", HTMLButtonElement).addEventListener("click", hooks.redo);
    this.#root.addEventListener("keydown", (event) => this.#type(event));
    this.#offerColours();
    this.#offerDialog();
    this.#mark();
  }

  get brush(): Brush {
    const chosen = this.#root.querySelector<HTMLInputElement>("input[name=brush-colour]:checked");
    return {
      layer: this.#layer,
      // A mask has no colours: what is opaque is marked.
      colour: this.#layer === "mask" ? "white" : (chosen?.value ?? this.#own.value),
      isEraser: this.#isEraser,
      size: Number(this.#size.value) / 100,
    };
  }

  /** Undefined puts the brush away. */
  choose(layer: LayerName | undefined): void {
    this.#layer = layer;
    this.#isEraser = false;
    this.#refresh();
  }

  setHistory(canUndo: boolean, canRedo: boolean): void {
    find("tool-undo", HTMLButtonElement).disabled = !canUndo;
    find("tool-redo", HTMLButtonElement).disabled = !canRedo;
  }

  #refresh(): void {
    this.#mark();
    this.#hooks.changed();
  }

  #mark(): void {
    for (const layer of ["paint", "mask"] as const)
      find(`tool-${layer}`, HTMLButtonElement).setAttribute("aria-pressed", String(this.#layer === layer));
    find("tool-erase", HTMLButtonElement).setAttribute("aria-pressed", String(this.#isEraser));
    const { value, min, max } = this.#size;
    const share = (Number(value) - Number(min)) / (Number(max) - Number(min));
    this.#root.dataset["layer"] = this.#layer ?? "none";
    this.#size.style.setProperty("--share", String(share));
  }

  #offerColours(): void {
    const radios = COLOURS.map(([name, value], index) => {
      const radio = element("input", {
        className: "swatch",
        title: name,
        attributes: { type: "radio", name: "brush-colour", value, "aria-label": name },
      });
      radio.checked = index === FIRST_COLOUR;
      radio.style.setProperty("--swatch", value);
      radio.addEventListener("change", () => this.#refresh());
      return radio;
    });
    find("pad-colours", HTMLElement).prepend(...radios);
    this.#own.addEventListener("input", () => {
      for (const radio of radios) radio.checked = false;
      this.#refresh();
    });
  }

  /** The same canvas over the whole window, for precise work. */
  #offerDialog(): void {
    const home = this.#root.parentElement;
    const next = this.#root.nextSibling;
    const button = find("pad-larger", HTMLButtonElement);
    button.addEventListener("click", () => {
      if (this.#dialog.open) return this.#dialog.close();
      this.#dialog.append(this.#root);
      this.#dialog.showModal();
      button.textContent = "Done";
      if (this.#layer === undefined) this.choose("mask");
    });
    this.#dialog.addEventListener("close", () => {
      home?.insertBefore(this.#root, next);
      button.textContent = "Larger";
      this.#hooks.changed();
      button.focus();
    });
  }

  #type(event: KeyboardEvent): void {
    const key = event.key.toLowerCase();
    if (event.altKey || !(event.ctrlKey || event.metaKey)) return this.#typePlain(event, key);
    if (key !== "z" && key !== "y") return;
    event.preventDefault();
    if (key === "y" || event.shiftKey) this.#hooks.redo();
    else this.#hooks.undo();
  }

  #typePlain(event: KeyboardEvent, key: string): void {
    // In fields, letters are text.
    if (event.altKey || (event.target as HTMLElement).id !== "pad-view") return;
    if (key === "e") this.#isEraser = !this.#isEraser;
    else if (key === "[") this.#size.stepDown(2);
    else if (key === "]") this.#size.stepUp(2);
    else return;
    event.preventDefault();
    this.#refresh();
  }
}
