/** A picture over the whole window: the arrow keys go through all that are kept, and it can be seen pixel by pixel. */
import { find } from "./dom.ts";
import { saveFiles } from "./files.ts";
import type { FrameContent } from "./plate.ts";
import type { Values } from "./values.ts";
import { Zoom } from "./zoom.ts";

/** A picture to look at; with an id where this browser keeps it. */
export interface Viewed {
  readonly id?: number;
  readonly values: Values;
  readonly frames: readonly FrameContent[];
}

export type Kept = Viewed & { readonly id: number };

export interface ViewerHooks {
  /** All that can be gone through, newest first. */
  readonly pictures: () => Promise<readonly Viewed[]>;
  /** Puts the picture on the page. */
  readonly use: (picture: Viewed) => void;
  /** Starts the next one from it. */
  readonly startFrom: (image: Blob) => void;
  readonly remove: (id: number) => Promise<void>;
  readonly restore: (picture: Kept) => Promise<void>;
}

export class Viewer {
  readonly #hooks: ViewerHooks;
  readonly #dialog = find("viewer", HTMLDialogElement);
  readonly #image = find("viewer-image", HTMLImageElement);
  readonly #title = find("viewer-title", HTMLElement);
  readonly #place = find("viewer-place", HTMLElement);
  readonly #undo = find("viewer-undo", HTMLButtonElement);
  readonly #zoom = new Zoom();
  #pictures: readonly Viewed[] = [];
  #index = 0;
  #removed: Kept | undefined;

  constructor(hooks: ViewerHooks) {
    this.#hooks = hooks;
    const press = (id: string, act: () => unknown): void =>
      find(id, HTMLButtonElement).addEventListener("click", () => void act());
    press("viewer-newer", () => this.#go(-1));
    press("viewer-older", () => this.#go(1));
    press("viewer-download", () => saveFiles(this.#files));
    press("viewer-delete", () => this.#remove());
    press("viewer-undo", () => this.#restore());
    press("viewer-close", () => this.#dialog.close());
    press("viewer-full", toggleFullscreen);
    press("viewer-use", () => {
      const picture = this.#pictures[this.#index];
      this.#dialog.close();
      if (picture !== undefined) this.#hooks.use(picture);
    });
    press("viewer-start", () => {
      const [file] = this.#files;
      this.#dialog.close();
      if (file !== undefined) this.#hooks.startFrom(file.blob);
    });
    find("viewer-full", HTMLButtonElement).hidden = !document.fullscreenEnabled;
    this.#dialog.addEventListener("keydown", (event) => this.#pressed(event));
    this.#dialog.addEventListener("close", () => {
      if (document.fullscreenElement !== null) void document.exitFullscreen();
      this.#pictures = [];
      this.#show();
    });
  }

  /** Opens with the picture that `isWanted` finds, or with the newest. */
  async open(isWanted: (picture: Viewed) => boolean): Promise<void> {
    this.#pictures = await this.#hooks.pictures();
    this.#index = Math.max(0, this.#pictures.findIndex(isWanted));
    this.#removed = undefined;
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#show();
  }

  get #files(): { values: Values; blob: Blob }[] {
    const picture = this.#pictures[this.#index];
    const blob = picture?.frames.at(-1)?.blob;
    return picture === undefined || blob === undefined ? [] : [{ values: picture.values, blob }];
  }

  #go(distance: number): void {
    const next = this.#index + distance;
    if (next < 0 || next >= this.#pictures.length) return;
    this.#index = next;
    this.#removed = undefined;
    this.#show();
  }

  #show(): void {
    const picture = this.#pictures[this.#index];
    const blob = picture?.frames.at(-1)?.blob;
    URL.revokeObjectURL(this.#image.src);
    this.#image.hidden = blob === undefined;
    if (blob === undefined) this.#image.removeAttribute("src");
    else this.#image.src = URL.createObjectURL(blob);
    this.#image.alt = picture?.values.prompt ?? "";
    this.#title.textContent =
      picture === undefined ? "No picture" : `${picture.values.prompt} · seed ${picture.values.seed}`;
    this.#place.textContent = picture === undefined ? "" : `${this.#index + 1} of ${this.#pictures.length}`;
    find("viewer-newer", HTMLButtonElement).disabled = this.#index === 0;
    find("viewer-older", HTMLButtonElement).disabled = this.#index >= this.#pictures.length - 1;
    for (const id of ["viewer-download", "viewer-use", "viewer-start"])
      find(id, HTMLButtonElement).disabled = blob === undefined;
    find("viewer-delete", HTMLButtonElement).disabled = picture?.id === undefined;
    this.#undo.hidden = this.#removed === undefined;
    this.#zoom.reset();
  }

  async #remove(): Promise<void> {
    const picture = this.#pictures[this.#index];
    if (picture === undefined || !isKept(picture)) return;
    await this.#hooks.remove(picture.id);
    this.#removed = picture;
    this.#pictures = this.#pictures.filter((other) => other !== picture);
    this.#index = Math.min(this.#index, Math.max(0, this.#pictures.length - 1));
    this.#show();
    this.#undo.focus();
  }

  async #restore(): Promise<void> {
    const removed = this.#removed;
    if (removed === undefined) return;
    await this.#hooks.restore(removed);
    await this.open(({ id }) => id === removed.id);
    find("viewer-delete", HTMLButtonElement).focus();
  }

  #pressed(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    // A picture larger than the window is moved by the arrow keys instead.
    const acts: Readonly<Record<string, (() => unknown) | false>> = {
      ArrowLeft: !this.#zoom.isLarge && (() => this.#go(-1)),
      ArrowRight: !this.#zoom.isLarge && (() => this.#go(1)),
      Delete: () => this.#remove(),
      z: () => this.#zoom.toggle(),
      "+": () => this.#zoom.step(1),
      "-": () => this.#zoom.step(-1),
      f: toggleFullscreen,
    };
    const act = acts[event.key];
    if (act === undefined || act === false) return;
    event.preventDefault();
    void act();
  }
}

function isKept(picture: Viewed): picture is Kept {
  return picture.id !== undefined;
}

async function toggleFullscreen(): Promise<void> {
  try {
    if (document.fullscreenElement === null) await document.documentElement.requestFullscreen();
    else await document.exitFullscreen();
  } catch {
    // The browser does not allow it here; the window is full already.
  }
}
