/** The LoRAs of the next picture: chosen from those of the server, weighed, and in their order. */
import { LatentcastError } from "../client/index.ts";
import { getJson } from "./access.ts";
import { element, find } from "./dom.ts";
import type { Form } from "./form.ts";
import { list, record, text } from "./json.ts";
import { limitsOf } from "./limits.ts";
import { readLoras, writeLoras, type ChosenLora } from "./loras.ts";

/** Beyond it few LoRAs do any good; the field beside the slider takes whatever the server does. */
const USUAL = { min: "-1", max: "2", step: "0.05" } as const;

export class LoraPicker {
  readonly #form: Form;
  readonly #changed: () => void;
  readonly #root = find("lora-part", HTMLElement);
  readonly #list = find("lora-list", HTMLElement);
  readonly #offer = find("lora-offer", HTMLSelectElement);
  #names: readonly string[] = [];
  /** Whether the chosen model takes any. */
  #isOffered = false;
  #shown = "";

  /** @param changed Called after each change by the visitor. */
  constructor(form: Form, changed: () => void) {
    this.#form = form;
    this.#changed = changed;
    this.#offer.addEventListener("change", () => {
      const path = this.#offer.value;
      this.#offer.value = "";
      if (path !== "") this.#write([...this.#loras, { path, scale: "1" }]);
    });
  }

  /** Offers what the server has, for a model that takes it. */
  async setOffered(isOffered: boolean): Promise<void> {
    this.#isOffered = isOffered;
    this.refresh();
    await this.load();
  }

  /** Asks the server what it has, unless that is known or not wanted. */
  async load(): Promise<void> {
    if (!this.#isOffered || this.#names.length > 0) return;
    try {
      const { loras } = record(await getJson("loras"));
      this.#setNames(list(loras).map((lora) => text(record(lora)["path"])));
    } catch (error) {
      // A server that wants a key is asked again after the first picture.
      if (!(error instanceof LatentcastError)) throw error;
    }
  }

  #setNames(names: readonly string[]): void {
    this.#names = names;
    const options = names.map((name) => element("option", { textContent: name, attributes: { value: name } }));
    this.#offer.replaceChildren(element("option", { textContent: "Add one …", attributes: { value: "" } }), ...options);
    this.refresh();
  }

  /** The form may have been filled in from elsewhere. */
  refresh(): void {
    const isOffered = this.#isOffered && this.#names.length > 0;
    this.#offer.hidden = !isOffered;
    // What a link or the model before has brought can still be taken away.
    this.#root.hidden = !isOffered && this.#form.value("loras") === "";
    if (this.#form.value("loras") === this.#shown) return;
    this.#shown = this.#form.value("loras");
    this.#list.replaceChildren(...this.#loras.map((lora, index) => this.#row(lora, index)));
  }

  get #loras(): ChosenLora[] {
    return readLoras(this.#form.value("loras"));
  }

  #write(loras: readonly ChosenLora[]): void {
    this.#form.write({ loras: writeLoras(loras) });
    this.refresh();
    this.#changed();
  }

  #row({ path, scale }: ChosenLora, index: number): HTMLElement {
    const { minimum = 0, maximum = 1 } = limitsOf("loras.scale");
    const number = element("input", {
      attributes: {
        type: "number",
        min: String(minimum),
        max: String(maximum),
        step: USUAL.step,
        value: scale,
        "aria-label": `Weight of ${path}`,
      },
    });
    const slider = element("input", {
      attributes: { type: "range", ...USUAL, value: scale, "aria-label": `Weight of ${path}, slider` },
    });
    const weigh = (value: string): void => {
      number.value = value;
      slider.value = value;
      setShare(slider);
      this.#form.write({ loras: writeLoras(this.#loras.with(index, { path, scale: value })) });
      // The row stays: the visitor has its slider in hand.
      this.#shown = this.#form.value("loras");
      this.#changed();
    };
    number.addEventListener("input", () => weigh(number.value));
    slider.addEventListener("input", () => weigh(slider.value));
    setShare(slider);
    const move = (name: string, sign: string, to: number): HTMLButtonElement => {
      const button = this.#button(`${name} ${path}`, sign, () => this.#move(index, to));
      button.disabled = to < 0 || to >= this.#loras.length;
      return button;
    };
    return element("li", { className: "lora slide" }, [
      element("span", { className: "lora-name", textContent: path, title: path }),
      element("span", { className: "lora-buttons" }, [
        move("Earlier:", "↑", index - 1),
        move("Later:", "↓", index + 1),
        this.#button(`Remove ${path}`, "×", () => this.#write(this.#loras.toSpliced(index, 1))),
      ]),
      number,
      slider,
    ]);
  }

  #move(from: number, to: number): void {
    const moved = this.#loras;
    const [lora] = moved.splice(from, 1);
    if (lora !== undefined) this.#write(moved.toSpliced(to, 0, lora));
    const button = this.#list.children[to]?.querySelectorAll("button")[to > from ? 1 : 0];
    // At the end of the list the way there is closed.
    (button?.disabled === true ? this.#list.children[to]?.querySelector("input") : button)?.focus();
  }

  #button(name: string, sign: string, act: () => void): HTMLButtonElement {
    const button = element("button", {
      textContent: sign,
      title: name,
      attributes: { type: "button", "aria-label": name },
    });
    button.addEventListener("click", act);
    return button;
  }
}

function setShare(slider: HTMLInputElement): void {
  const share = (Number(slider.value) - Number(slider.min)) / (Number(slider.max) - Number(slider.min));
  slider.style.setProperty("--share", String(share));
}
