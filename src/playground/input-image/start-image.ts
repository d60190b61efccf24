/** The part of the form where a picture to start from is given, painted on, and taken away again. */
import { element, find } from "../dom.ts";
import { saveBlob } from "../files.ts";
import type { Form } from "../form.ts";
import type { Values } from "../values.ts";
import { InputImage, keptFile } from "./input-image.ts";
import { receiveFiles } from "./incoming.ts";
import type { InputStore } from "./input-store.ts";
import { Pad } from "./pad.ts";
import { INPUT_FILES } from "./request-inputs.ts";
import { PadTools } from "./pad-tools.ts";
import { isSameShape, requestSize, within, type Size } from "./shape.ts";
import { describeStrength, MASKED_STRENGTH, STRENGTH } from "./strength.ts";

/** A pause after a stroke before it is written down: PNG of a large image takes its time. */
const REST_MS = 300;
const MAX_PAPER_SIDE = 1_024;
/** Until the model is known. */
const SQUARE: Size = { width: 512, height: 512 };

export interface StartImageHooks {
  /** The values of the form have changed. */
  readonly changed: () => void;
  /** What would be sent has changed, perhaps in the middle of a stroke. */
  readonly painted: () => void;
  /** The size of the model's that comes closest to this shape. */
  readonly sizeLike: (image: Size) => Size | undefined;
}

export class StartImage {
  readonly #form: Form;
  readonly #store: InputStore;
  readonly #hooks: StartImageHooks;
  readonly #pad: Pad;
  readonly #tools: PadTools;
  #image: InputImage | undefined;
  /** `#image` without what was painted on it since. */
  #file: Blob | undefined;
  /** What the form says that `#image` is. */
  #shown = { image: "", mask: "" };
  #version = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #work: Promise<void> = Promise.resolve();

  constructor(form: Form, store: InputStore, hooks: StartImageHooks) {
    this.#form = form;
    this.#store = store;
    this.#hooks = hooks;
    this.#tools = new PadTools({
      changed: () => this.#pad.refresh(),
      fill: (layer, colour) => this.#edit(({ drawing }) => drawing.fill(layer, colour)),
      undo: () => this.#edit(({ drawing }) => drawing.undo()),
      redo: () => this.#edit(({ drawing }) => drawing.redo()),
    });
    this.#pad = new Pad({
      brush: () => this.#tools.brush,
      painted: () => this.#changed(),
      finished: () => this.#edited(),
      say: (words) => {
        find("live", HTMLElement).textContent = words;
      },
    });
    receiveFiles((file) => void this.take(file, file.name));
    find("start-sketch", HTMLButtonElement).addEventListener("click", () => this.#sketch());
    find("start-remove", HTMLButtonElement).addEventListener("click", () => this.#remove());
    find("start-save", HTMLButtonElement).addEventListener("click", () => void this.#save());
    this.#show(undefined);
  }

  /** The image as it is painted now, ahead of what the form names while a stroke goes on. */
  get image(): InputImage | undefined {
    return this.#image;
  }

  /** Another number after each change of what would be sent. */
  get version(): number {
    return this.#version;
  }

  /** The size that a request would have. */
  get size(): Size {
    return requestSize(this.#form.read()) ?? within(this.#image?.size ?? SQUARE, MAX_PAPER_SIDE);
  }

  /** Starts from this file. Resolves once the form names it, or says why it cannot be. */
  take(file: Blob, name = "This file"): Promise<void> {
    return this.#next(async () => {
      let image: InputImage;
      try {
        image = await InputImage.read(file, undefined);
      } catch {
        this.#say(`${name} is not a picture that this browser opens. JPEG, PNG and WebP always work.`);
        return;
      }
      await this.#begin(image, await keptFile(file, image));
    });
  }

  /** Shows what these values name, such as those of a link or of an earlier picture. */
  follow(values: Pick<Values, "image" | "mask">): void {
    if (values.image === this.#shown.image && values.mask === this.#shown.mask) return;
    void this.#next(async () => {
      const { image: id, mask: maskId } = { image: this.#form.value("image"), mask: this.#form.value("mask") };
      if (id === this.#shown.image && maskId === this.#shown.mask) return;
      const image = id === "" ? undefined : await this.#store.find(id);
      const mask = maskId === "" ? undefined : await this.#store.find(maskId);
      if (id !== "" && image === undefined) {
        this.#form.write({ image: "", mask: "" });
        this.#show(undefined);
        this.#say(
          "This picture was made from another one, which only the browser has that made it. Add it to make the same.",
        );
        this.#hooks.changed();
        return;
      }
      this.#shown = { image: id, mask: maskId };
      this.#file = image;
      this.#version += 1;
      this.#show(image === undefined ? undefined : await InputImage.read(image, mask));
    });
  }

  /** Something of the form has changed: the size, the steps, the strength. */
  refresh(): void {
    const strength = this.#form.value("strength");
    const steps = Number(this.#form.value("num_inference_steps") || Number.NaN);
    const hasMask = this.#image !== undefined && !this.#image.drawing.isBlank("mask");
    find("strength-says", HTMLElement).textContent = describeStrength(strength, steps, hasMask);
    if (this.#image !== undefined) this.#pad.show(this.#image, this.size);
  }

  /** Resolves once the form names all that was painted. */
  async settled(): Promise<void> {
    if (this.#timer !== undefined) this.#write();
    await this.#work;
  }

  #sketch(): void {
    void this.#next(async () => {
      const paper = InputImage.paper(within(this.size, MAX_PAPER_SIDE));
      await this.#begin(paper, await paper.painted());
      this.#tools.choose("paint");
      const view = find("pad-view", HTMLElement);
      view.focus({ preventScroll: true });
      view.scrollIntoView({ block: "nearest" });
    });
  }

  async #begin(image: InputImage, file: Blob): Promise<void> {
    const id = await this.#store.keep(file);
    const size = isSameShape(image.size, this.size) ? undefined : this.#hooks.sizeLike(image.size);
    this.#shown = { image: id, mask: "" };
    this.#file = file;
    this.#form.write({
      image: id,
      mask: "",
      ...(this.#form.value("strength") === "" ? { strength: STRENGTH } : {}),
      ...(size === undefined ? {} : { width: String(size.width), height: String(size.height) }),
    });
    this.#show(image);
    this.#hooks.changed();
    this.#changed();
  }

  #remove(): void {
    void this.#next(() => {
      this.#shown = { image: "", mask: "" };
      this.#form.write({ ...this.#shown, strength: "" });
      this.#show(undefined);
      this.#hooks.changed();
      this.#changed();
      find("start-choose", HTMLButtonElement).focus();
      return Promise.resolve();
    });
  }

  #show(image: InputImage | undefined): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#image = image;
    this.#say("");
    this.#tools.choose(undefined);
    this.#tools.setHistory(false, false);
    find("start-ways", HTMLElement).hidden = image !== undefined;
    find("start-set", HTMLElement).hidden = image === undefined;
    document.body.toggleAttribute("data-starts", image !== undefined);
    this.refresh();
  }

  #edit(act: (image: InputImage) => void): void {
    if (this.#image === undefined) return;
    act(this.#image);
    this.#pad.refresh();
    this.#changed();
    this.#edited();
  }

  #edited(): void {
    const drawing = this.#image?.drawing;
    this.#tools.setHistory(drawing?.canUndo === true, drawing?.canRedo === true);
    if (drawing?.isBlank("mask") === false && this.#shown.mask === "" && this.#form.value("strength") === STRENGTH)
      this.#form.write({ strength: MASKED_STRENGTH });
    this.refresh();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#write(), REST_MS);
  }

  #changed(): void {
    this.#version += 1;
    this.#hooks.painted();
  }

  /** Gives what was painted to the store, and its names to the form. */
  #write(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const image = this.#image;
    if (image === undefined) return;
    void this.#next(async () => {
      const before = this.#shown;
      const file = this.#file;
      const mask = await image.mask();
      const ids = {
        image: await this.#store.keep((image.drawing.isBlank("paint") ? file : undefined) ?? (await image.painted())),
        mask: mask === undefined ? "" : await this.#store.keep(mask),
      };
      // Another image may have taken its place meanwhile, or is about to.
      const isNamed = this.#form.value("image") === before.image && this.#form.value("mask") === before.mask;
      if (image !== this.#image || !isNamed) return;
      this.#shown = ids;
      this.#form.write(ids);
      this.#hooks.changed();
    });
  }

  /** One after the other: what comes later wins. */
  #next(act: () => Promise<void>): Promise<void> {
    const done = this.#work.then(act);
    this.#work = done.catch(() => undefined);
    return done;
  }

  /** The files that a request sends, for the programs that the page writes. */
  async #save(): Promise<void> {
    if (this.#image === undefined) return;
    const { image, mask } = await this.#image.filesAt(this.size);
    saveBlob(image, INPUT_FILES.image_url);
    if (mask !== null) saveBlob(mask, INPUT_FILES.mask_url);
  }

  #say(words: string): void {
    find("start-trouble", HTMLElement).replaceChildren(
      ...(words === "" ? [] : [element("span", { textContent: words })]),
    );
  }
}
