/** What the addresses of a request's images lead to: data URIs and files of this server. Nothing is fetched from elsewhere. */
import { createHash } from "node:crypto";
import { LatentcastError } from "../errors.ts";
import { decodeImage, decodeMask, UnreadableImage } from "./decode.ts";
import { InputImages } from "./inputs.ts";

export interface ImageAddresses {
  readonly image_url?: string | null | undefined;
  readonly mask_url?: string | null | undefined;
  /** The image itself, where bytes can be sent; wins over its address. */
  readonly image_bytes?: Uint8Array | undefined;
}

/** The files as they were sent. */
export interface InputFiles {
  readonly image: Buffer;
  readonly mask: Buffer | null;
}

/** A file of this server by the last part of its address; undefined when there is none. */
export type ReadFile = (key: string) => Promise<Buffer | undefined>;

type Field = "image_url" | "mask_url";

const DATA_URI = /^data:[^,]{0,200};base64,/i;

/** Undefined for a request without images. Rejects with `invalid_request` naming the field. */
export async function readInputFiles(
  { image_url: imageUrl, mask_url: maskUrl, image_bytes: imageBytes }: ImageAddresses,
  readFile: ReadFile,
): Promise<InputFiles | undefined> {
  const hasMask = maskUrl !== undefined && maskUrl !== null;
  const image = imageBytes === undefined ? imageUrl : Buffer.from(imageBytes);
  if (image === undefined || image === null) {
    if (hasMask) throw problem("mask_url", "needs image_url", "missing_image");
    return undefined;
  }
  return {
    image: typeof image === "string" ? await read("image_url", image, readFile) : image,
    mask: hasMask ? await read("mask_url", maskUrl, readFile) : null,
  };
}

/** Rejects with `invalid_request` naming the field whose file is no image that can be read. */
export async function openInputFiles({ image, mask }: InputFiles): Promise<InputImages> {
  const decoded = await readable("image_url", () => decodeImage(image));
  return new InputImages({
    image: decoded,
    mask: mask === null ? null : await readable("mask_url", () => decodeMask(mask, "white")),
    digests: { image: digest(image), mask: mask === null ? null : digest(mask) },
  });
}

/** {@link readInputFiles} and {@link openInputFiles}, where the files themselves are of no further use. */
export async function openInputs(addresses: ImageAddresses, readFile: ReadFile): Promise<InputImages | undefined> {
  const files = await readInputFiles(addresses, readFile);
  return files === undefined ? undefined : openInputFiles(files);
}

async function read(field: Field, address: string, readFile: ReadFile): Promise<Buffer> {
  const prefix = DATA_URI.exec(address.slice(0, 256));
  if (prefix !== null) return Buffer.from(address.slice(prefix[0].length), "base64");
  if (/^data:/i.test(address)) throw problem(field, "is a data URI that is not in base64", "unsupported_address");
  const key = fileKeyOf(address);
  const file = key === undefined ? undefined : await readFile(key);
  if (file !== undefined) return file;
  const isOurs = key !== undefined && !/^https?:/i.test(address);
  throw isOurs
    ? problem(field, "names a file that does not exist, or has expired", "unknown_file")
    : problem(
        field,
        "must be a data URI or a file that was uploaded to this server; other addresses are not fetched",
        "unsupported_address",
      );
}

/** The name of a file of this server. Its host is not compared: the server has several names, and the key is the permission. */
function fileKeyOf(address: string): string | undefined {
  try {
    const { pathname, protocol } = new URL(address, "http://latentcast");
    return /^https?:$/.test(protocol) ? /\/files\/([\w.-]{1,100})$/.exec(pathname)?.[1] : undefined;
  } catch {
    return undefined;
  }
}

async function readable<Value>(field: Field, decode: () => Promise<Value>): Promise<Value> {
  try {
    return await decode();
  } catch (error) {
    if (error instanceof UnreadableImage) throw problem(field, error.message, "unreadable_image");
    throw error;
  }
}

function digest(bytes: Buffer): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

function problem(field: Field, msg: string, type: string): LatentcastError {
  return new LatentcastError("invalid_request", {
    fields: [{ loc: ["body", field], msg, type }],
    message: `${field}: ${msg}`,
  });
}
