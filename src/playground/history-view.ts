/** Earlier pictures as a strip of small ones. */
import { element, find } from "./dom.ts";
import { saveFiles } from "./files.ts";
import { HistoryStore, type HistoryEntry } from "./history-store.ts";
import type { Plate } from "./plate.ts";

export interface HistoryActions {
  readonly open: (entry: HistoryEntry) => void;
  /** Puts it beside what is on the stage. */
  readonly compare: (entry: HistoryEntry) => void;
  /** Called with all that is kept, after each change. @param isCleared By the visitor, who wants nothing to stay. */
  readonly kept: (entries: readonly HistoryEntry[], isCleared: boolean) => void;
}

export class HistoryView {
  readonly #store = new HistoryStore();
  readonly #root = find("history", HTMLElement);
  readonly #strip = find("strip", HTMLElement);
  readonly #actions: HistoryActions;
  #urls: string[] = [];

  constructor(actions: HistoryActions) {
    this.#actions = actions;
    find("clear-history", HTMLButtonElement).addEventListener("click", () => void this.#clear());
    find("download-history", HTMLButtonElement).addEventListener("click", () => void this.#downloadAll());
  }

  /** Keeps a finished picture and how it formed. */
  async keep({ values, frames }: Plate): Promise<void> {
    await this.#store.add({ values, frames: frames.map(({ url: _url, ...content }) => content) });
    await this.refresh();
  }

  /** Newest first. */
  entries(): Promise<HistoryEntry[]> {
    return this.#store.all();
  }

  async remove(id: number): Promise<void> {
    await this.#store.remove(id);
    await this.refresh();
  }

  /** Takes the removal back. */
  async restore(entry: HistoryEntry): Promise<void> {
    await this.#store.restore(entry);
    await this.refresh();
  }

  /** The entry made with exactly these values, such as those of a link. */
  async find(isWanted: (entry: HistoryEntry) => boolean): Promise<HistoryEntry | undefined> {
    return (await this.#store.all()).find(isWanted);
  }

  async refresh(isCleared = false): Promise<void> {
    const entries = await this.#store.all();
    for (const url of this.#urls.splice(0)) URL.revokeObjectURL(url);
    this.#root.hidden = entries.length === 0;
    this.#strip.replaceChildren(...entries.map((entry) => this.#item(entry)));
    this.#actions.kept(entries, isCleared);
  }

  async #downloadAll(): Promise<void> {
    const entries = await this.#store.all();
    await saveFiles(entries.flatMap(({ values, frames }) => frames.slice(-1).map(({ blob }) => ({ values, blob }))));
  }

  async #clear(): Promise<void> {
    await this.#store.clear();
    await this.refresh(true);
  }

  #item(entry: HistoryEntry): HTMLElement {
    const { values, frames } = entry;
    const finished = frames.at(-1);
    const image = element("img", { attributes: { alt: "", loading: "lazy", decoding: "async" } });
    if (finished !== undefined) {
      const url = URL.createObjectURL(finished.blob);
      this.#urls.push(url);
      // Its shape is known before it is loaded, which is when it comes into sight.
      Object.assign(image, { src: url, width: finished.width, height: finished.height });
    }
    const name = `${values.prompt}, seed ${values.seed}`;
    const open = element(
      "button",
      { className: "thumb", title: name, attributes: { type: "button", "aria-label": `Open ${name}` } },
      [image],
    );
    open.addEventListener("click", () => this.#actions.open(entry));
    const compare = element("button", {
      className: "thumb-compare",
      textContent: "Compare",
      attributes: { type: "button", "aria-label": `Compare with ${name}` },
    });
    compare.addEventListener("click", () => this.#actions.compare(entry));
    return element("li", {}, [open, compare]);
  }
}
