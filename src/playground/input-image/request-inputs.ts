/** Requests as they are sent: the form's values, with the images that they name. */
import { LatentcastError, type GenerateInput } from "../../client/index.ts";
import { toInput, type Values } from "../values.ts";
import { InputImage } from "./input-image.ts";
import type { InputStore } from "./input-store.ts";
import { requestSize } from "./shape.ts";

/** The names under which the page saves them, for the programs that it writes. */
export const INPUT_FILES = { image_url: "input.png", mask_url: "mask.png" } as const;

type Files = Awaited<ReturnType<InputImage["filesAt"]>>;

export class RequestInputs {
  readonly #store: InputStore;
  /** Of the request before: several seeds at once start from the same image. */
  #last: { readonly key: string; readonly files: Promise<Files> } | undefined;

  constructor(store: InputStore) {
    this.#store = store;
  }

  /** Rejects with a LatentcastError when this browser no longer has the image. */
  async of(values: Values): Promise<GenerateInput> {
    if (values.image === "") return toInput(values);
    const key = [values.image, values.mask, values.width, values.height].join();
    if (this.#last?.key !== key) this.#last = { key, files: this.#read(values) };
    try {
      const { image, mask } = await this.#last.files;
      return { ...toInput(values), image_url: image, mask_url: mask };
    } catch (error) {
      // It may be there the next time.
      this.#last = undefined;
      throw error;
    }
  }

  async #read(values: Values): Promise<Files> {
    const [file, maskFile] = await Promise.all([this.#find(values.image), this.#find(values.mask)]);
    if (file === undefined) throw missing();
    const image = await InputImage.read(file, maskFile);
    return image.filesAt(requestSize(values) ?? image.size);
  }

  async #find(id: string): Promise<Blob | undefined> {
    if (id === "") return undefined;
    const file = await this.#store.find(id);
    if (file === undefined) throw missing();
    return file;
  }
}

function missing(): LatentcastError {
  return new LatentcastError("not_found", "The picture to start from is no longer in this browser.");
}
