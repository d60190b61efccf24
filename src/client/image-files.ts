/** Images to start from, in whatever form a program has them; the server gets data URIs. */
import type { GenerateInput } from "../schema/input.ts";

/** An address or data URI, or the file itself. Node's `Buffer` is a `Uint8Array`, a browser's `File` a `Blob`. */
export type ImageFile = string | Blob | ArrayBuffer | Uint8Array;

export type ClientInput = Omit<GenerateInput, "image_url" | "mask_url"> & {
  readonly image_url?: ImageFile | null | undefined;
  readonly mask_url?: ImageFile | null | undefined;
};

/** `String.fromCharCode` takes its arguments from the stack. */
const CHUNK_BYTES = 2 ** 15;

/** The same when there is nothing to read; a request must not wait without need. */
export function withAddresses(input: ClientInput): GenerateInput | Promise<GenerateInput> {
  const { image_url: image, mask_url: mask, ...plain } = input;
  if (isAddress(image) && isAddress(mask)) return { ...plain, image_url: image, mask_url: mask };
  return Promise.all([addressOf(image), addressOf(mask)]).then(([imageUrl, maskUrl]) => ({
    ...plain,
    image_url: imageUrl,
    mask_url: maskUrl,
  }));
}

type Address = string | null | undefined;

function isAddress(file: ClientInput["image_url"]): file is Address {
  return typeof file === "string" || file === null || file === undefined;
}

async function addressOf(file: ClientInput["image_url"]): Promise<Address> {
  if (isAddress(file)) return file;
  if (file instanceof Uint8Array) return dataUri(file, "");
  if (file instanceof ArrayBuffer) return dataUri(new Uint8Array(file), "");
  return dataUri(new Uint8Array(await file.arrayBuffer()), file.type);
}

function dataUri(bytes: Uint8Array, type: string): string {
  let binary = "";
  for (let at = 0; at < bytes.byteLength; at += CHUNK_BYTES) {
    binary += String.fromCharCode(...bytes.subarray(at, at + CHUNK_BYTES));
  }
  return `data:${type === "" ? "application/octet-stream" : type};base64,${btoa(binary)}`;
}
