/** The buttons below the picture. */
import { element, find } from "./dom.ts";
import type { Form } from "./form.ts";
import { linkOf } from "./link.ts";
import { saveFiles, type PictureFile } from "./files.ts";
import type { Plate } from "./plate.ts";
import type { Session } from "./session.ts";
import { snippet, type SnippetLanguage } from "./snippets.ts";
import type { Values } from "./values.ts";

/** How long a button says that it has copied. */
const COPIED_MS = 1_600;

export interface ActionHooks {
  /** Whether programs need a key. */
  readonly needsKey: () => boolean;
  readonly look: (plate: Plate) => void;
  /** The next picture is to start from this one. */
  readonly startFrom: (image: Blob) => void;
}

export class Actions {
  readonly #session: Session;
  readonly #form: Form;
  readonly #row = find("actions", HTMLElement);
  readonly #replay = find("replay", HTMLButtonElement);
  readonly #download = find("download", HTMLButtonElement);
  readonly #compare = find("compare", HTMLButtonElement);
  readonly #grid = find("grid", HTMLButtonElement);
  readonly #full = find("full", HTMLButtonElement);
  readonly #divide = find("divide", HTMLButtonElement);
  readonly #start = find("start-from", HTMLButtonElement);
  readonly #hooks: ActionHooks;

  constructor(session: Session, form: Form, hooks: ActionHooks) {
    this.#session = session;
    this.#form = form;
    this.#hooks = hooks;
    this.#replay.addEventListener("click", () => session.timeline.replay());
    this.#download.addEventListener("click", () => void saveFiles(this.#finished.flatMap(toFile)));
    this.#full.addEventListener("click", () => this.#finished.slice(0, 1).forEach(hooks.look));
    this.#start.addEventListener("click", () => {
      const [plate] = this.#finished;
      if (plate?.finished !== undefined) hooks.startFrom(plate.finished.blob);
    });
    this.#divide.addEventListener("click", () => {
      session.stage.divide(!session.stage.isDivided);
      session.refresh();
    });
    this.#compare.addEventListener("click", () => {
      const [plate] = this.#finished;
      if (plate !== undefined) void session.compareSeeds(plate);
    });
    this.#grid.addEventListener("click", () => session.stage.choose(undefined));
    for (const button of this.#row.querySelectorAll<HTMLButtonElement>("[data-copy]")) {
      button.addEventListener("click", () => void this.#copy(button));
    }
  }

  refresh(): void {
    const finished = this.#finished;
    const { isBusy, stage } = this.#session;
    this.#row.hidden = isBusy || stage.plates.every(({ frames }) => frames.length === 0);
    this.#grid.hidden = !stage.canReturnToGrid;
    this.#compare.hidden = stage.isGrid || finished.length !== 1;
    this.#start.hidden = this.#compare.hidden;
    this.#full.hidden = finished.length === 0;
    this.#divide.hidden = !stage.canDivide || finished.length !== 2;
    this.#divide.textContent = stage.isDivided ? "Side by side" : "Divider";
    this.#download.hidden = finished.length === 0;
    this.#download.textContent = finished.length > 1 ? `Download ${finished.length}` : "Download";
    this.#replay.hidden = !stage.plates.some(({ frames }) => frames.length > 1);
  }

  get #finished(): readonly Plate[] {
    return this.#session.stage.chosen.filter(({ finished }) => finished !== undefined);
  }

  /** What makes what is looked at again: one picture's values, or those of the form for several. */
  get #values(): Values {
    const { chosen, isGrid } = this.#session.stage;
    return isGrid ? this.#form.read() : (chosen[0]?.values ?? this.#form.read());
  }

  async #copy(button: HTMLButtonElement): Promise<void> {
    const kind = button.dataset["copy"];
    const values = this.#values;
    const copied =
      kind === "link"
        ? new URL(`?${linkOf(values, this.#form.defaults).query}`, document.baseURI).href
        : snippet(kind as SnippetLanguage, values, this.#hooks.needsKey());
    await copy(copied);
    button.classList.add("copied");
    find("live", HTMLElement).textContent = "Copied";
    setTimeout(() => button.classList.remove("copied"), COPIED_MS);
  }
}

/** Pages that came over plain HTTP from another machine have no clipboard of their own, only what is selected. */
async function copy(copied: string): Promise<void> {
  if (isSecureContext) return navigator.clipboard.writeText(copied);
  const field = element("textarea", { className: "visually-hidden", textContent: copied });
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

function toFile({ values, finished }: Plate): PictureFile[] {
  return finished === undefined ? [] : [{ values, blob: finished.blob }];
}
