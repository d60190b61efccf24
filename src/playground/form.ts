/** The form: its limits from the schema, its values as text, its complaints beside the fields. */
import type { Problem } from "./advice.ts";
import { element, find } from "./dom.ts";
import { limitsOf } from "./limits.ts";
import type { Model } from "./service.ts";
import { requestSize } from "./input-image/shape.ts";
import { sizeLike, SizePresets } from "./size-presets.ts";
import { defaultValues, FIELD_NAMES, isOwnField, randomSeed, type FieldName, type Values } from "./values.ts";

type Field = HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement;

/** As many as form at the same time in one tab: more would take turns with the browser's connections. */
const MAX_RUNS = 4;

const CHOICE_NAMES: Readonly<Record<string, string>> = {
  "": "the model's own",
  tae: "tiny autoencoder",
  linear: "linear, nearly free",
  x0: "predicted picture",
  latents: "noisy latents",
  euler: "Euler",
  euler_a: "Euler ancestral",
  dpmpp_2m: "DPM++ 2M",
  dpmpp_2m_karras: "DPM++ 2M Karras",
  ddim: "DDIM",
  unipc: "UniPC",
  jpeg: "JPEG",
  png: "PNG",
  webp: "WebP",
  avif: "AVIF",
};

export class Form {
  readonly root = find("form", HTMLFormElement);
  readonly #presets: SizePresets;
  readonly #lock = find("lock", HTMLButtonElement);
  /** Fields that the visitor or a link has set; the others follow the model's defaults. */
  readonly #touched = new Set<FieldName>();
  #defaults = defaultValues(undefined);

  /** @param onEdit Called after each change by the visitor. */
  constructor(onEdit: () => void) {
    for (const name of FIELD_NAMES) applyLimits(field(name), name);
    this.#presets = new SizePresets((width, height) => {
      this.#edit("width", String(width));
      this.#edit("height", String(height));
      onEdit();
    });
    for (const slider of this.root.querySelectorAll<HTMLInputElement>("input[data-for]")) {
      slider.addEventListener("input", () => {
        this.#edit(slider.dataset["for"] as FieldName, slider.value);
        onEdit();
      });
    }
    this.root.addEventListener("input", ({ target }) => {
      const name = FIELD_NAMES.find((candidate) => target === field(candidate));
      if (name === undefined) return;
      this.#touched.add(name);
      this.#refresh();
      onEdit();
    });
    find("dice", HTMLButtonElement).addEventListener("click", () => {
      this.#edit("seed", randomSeed());
      onEdit();
    });
    this.#lock.addEventListener("click", () => this.setLocked(!this.isLocked));
    this.write(this.#defaults);
  }

  get defaults(): Values {
    return this.#defaults;
  }

  /** Whether the next run keeps the seed. */
  get isLocked(): boolean {
    return this.#lock.getAttribute("aria-pressed") === "true";
  }

  setLocked(isLocked: boolean): void {
    this.#lock.setAttribute("aria-pressed", String(isLocked));
  }

  /** @param name What requests call it; empty where there is no other. */
  setModel(model: Model, name: string): void {
    const before = this.#defaults;
    this.#defaults = { ...defaultValues(model), model: name };
    for (const side of ["width", "height"] as const) {
      const input = field(side);
      input.setAttribute("min", String(model.minSide));
      input.setAttribute("max", String(model.maxSide));
    }
    this.#presets.setModel(model);
    for (const each of FIELD_NAMES) {
      // What is as the model before has it, whoever wrote it, becomes as this one has it.
      if (this.#touched.has(each) && this.value(each) !== before[each]) continue;
      this.#touched.delete(each);
      field(each).value = this.#defaults[each];
    }
    field("model").value = name;
    this.#refresh();
  }

  /** Gives a size that is not the model's own its area, and leaves it its shape. */
  fitSize(model: Model): void {
    const size = requestSize(this.read());
    if (size === undefined || (size.width === model.nativeWidth && size.height === model.nativeHeight)) return;
    const { width, height } = sizeLike(size, model);
    this.write({ width: String(width), height: String(height) });
  }

  value(name: FieldName): string {
    return field(name).value.trim();
  }

  read(): Values {
    return Object.fromEntries(FIELD_NAMES.map((name) => [name, this.value(name)])) as Values;
  }

  /** Fills fields in; those it names no longer follow the defaults. */
  write(values: Partial<Values>): void {
    for (const name of FIELD_NAMES) {
      const value = values[name];
      if (value === undefined) continue;
      field(name).value = value;
      if (value !== this.#defaults[name]) this.#touched.add(name);
    }
    this.#refresh();
  }

  /** Marks the fields that the server could not use; none clears the marks. */
  complain(problems: readonly Problem[]): void {
    for (const note of this.root.querySelectorAll(".complaint")) note.remove();
    for (const name of FIELD_NAMES) {
      const input = field(name);
      const problem = problems.find((candidate) => candidate.field === name);
      input.toggleAttribute("aria-invalid", problem !== undefined);
      input.removeAttribute("aria-describedby");
      if (problem === undefined) continue;
      input.setAttribute("aria-invalid", "true");
      input.setAttribute("aria-describedby", `${name}-complaint`);
      const note = element("p", { className: "complaint", textContent: problem.text });
      note.id = `${name}-complaint`;
      input.closest(".field")?.append(note);
      input.closest("details")?.setAttribute("open", "");
    }
    this.root.querySelector<HTMLElement>("[aria-invalid=true]")?.focus();
  }

  #edit(name: FieldName, value: string): void {
    field(name).value = value;
    this.#touched.add(name);
    this.#refresh();
  }

  /** Sliders and size marks follow the fields. */
  #refresh(): void {
    for (const slider of this.root.querySelectorAll<HTMLInputElement>("input[data-for]")) {
      const { value } = field(slider.dataset["for"] as FieldName);
      if (value !== "") slider.value = value;
      const share = (Number(slider.value) - Number(slider.min)) / (Number(slider.max) - Number(slider.min));
      slider.style.setProperty("--share", String(share));
    }
    this.#presets.mark(Number(field("width").value), Number(field("height").value));
  }
}

function field(name: FieldName): Field {
  const found = document.getElementById(name);
  if (found instanceof HTMLInputElement || found instanceof HTMLTextAreaElement || found instanceof HTMLSelectElement) {
    return found;
  }
  throw new TypeError(`the page has no field ${name}`);
}

function applyLimits(input: Field, name: FieldName): void {
  if (name === "runs") return offer(input, range(1, MAX_RUNS));
  if (isOwnField(name)) return;
  const { minimum, maximum, step, maxLength, choices, fallback, description } = limitsOf(name);
  input.title = description.replaceAll("`", "");
  if (input instanceof HTMLSelectElement) {
    const numbers = minimum === undefined || maximum === undefined ? [] : range(minimum, maximum);
    return offer(input, choices.length === 0 ? numbers : fallback === "" ? ["", ...choices] : choices);
  }
  if (maxLength !== undefined) input.maxLength = maxLength;
  const slider = document.querySelector(`input[data-for="${name}"]`);
  for (const target of [input, slider]) {
    if (minimum === undefined || maximum === undefined || target === null) continue;
    target.setAttribute("min", String(minimum));
    target.setAttribute("max", String(maximum));
    target.setAttribute("step", String(step));
  }
}

function range(first: number, last: number): string[] {
  return Array.from({ length: last - first + 1 }, (_, index) => String(first + index));
}

function offer(input: Field, choices: readonly string[]): void {
  input.replaceChildren(
    ...choices.map((value) => element("option", { textContent: CHOICE_NAMES[value] ?? value, attributes: { value } })),
  );
}
