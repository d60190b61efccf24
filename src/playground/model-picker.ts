/** The model of the next picture, chosen from those of the server. */
import { element, find } from "./dom.ts";
import type { Form } from "./form.ts";
import { resolveModel, describeLoading } from "./models.ts";
import type { Model, Models, OfferedModel } from "./service.ts";

export interface ModelPickerHooks {
  /** This is the model now. @param name What requests call it; empty where there is no other. */
  readonly chosen: (model: Model, name: string) => void;
  /** The visitor has chosen it. Called after `chosen`. */
  readonly picked: (model: Model) => void;
}

export class ModelPicker {
  readonly #form: Form;
  readonly #hooks: ModelPickerHooks;
  readonly #root = find("model-part", HTMLElement);
  readonly #choice = find("model-choice", HTMLSelectElement);
  readonly #state = find("model-state", HTMLElement);
  readonly #note = find("model-note", HTMLElement);
  #models: Models = { served: [], unserved: [] };
  #offered = "";
  #served: OfferedModel | undefined;
  /** What the form says that `#served` is; undefined before there is one. */
  #name: string | undefined;

  constructor(form: Form, hooks: ModelPickerHooks) {
    this.#form = form;
    this.#hooks = hooks;
    this.#choice.addEventListener("change", () => {
      this.follow(this.#choice.value);
      if (this.model !== undefined) this.#hooks.picked(this.model);
    });
  }

  get model(): Model | undefined {
    return this.#served?.model;
  }

  /** Whether the server had it loaded when it was last asked. */
  get isLoaded(): boolean {
    return this.#served?.isLoaded ?? true;
  }

  setModels(models: Models): void {
    this.#models = models;
    this.#offer();
    this.#resolve(this.#form.value("model"));
  }

  /** The form is to be filled in with values of this model, such as those of an earlier picture. */
  follow(name: string): void {
    this.#form.write({ model: name });
    this.#resolve(name);
  }

  #resolve(named: string): void {
    const chosen = resolveModel(named, this.#models);
    if (chosen === undefined) return;
    const { served, name, remark } = chosen;
    // What was said of a name that is not there stays until another is given.
    if (named !== this.#name) this.#note.textContent = remark;
    this.#state.textContent = describeLoading(served);
    this.#choice.value = served.model.id;
    const isSame = name === this.#name && JSON.stringify(served.model) === JSON.stringify(this.model);
    this.#name = name;
    this.#served = served;
    if (!isSame) this.#hooks.chosen(served.model, name);
    // Also where the form named one that is not there.
    else this.#form.write({ model: name });
  }

  #offer(): void {
    const { served, unserved } = this.#models;
    const ids = served.map(({ model }) => model.id);
    const key = JSON.stringify([ids, unserved]);
    if (key === this.#offered) return;
    this.#offered = key;
    this.#root.hidden = ids.length < 2;
    this.#choice.replaceChildren(
      ...ids.map((id) => element("option", { textContent: id, attributes: { value: id } })),
      ...unserved.map(({ id, problem }) =>
        element("option", {
          textContent: `${id} (cannot be loaded)`,
          title: problem,
          attributes: { value: id, disabled: "" },
        }),
      ),
    );
  }
}
