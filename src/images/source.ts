/** Reads the images of a request from bytes, data URIs and files of this server. Nothing is fetched from elsewhere. */
import { createHash } from "node:crypto";
import { LatentcastError } from "../errors.ts";
import { decodeImage, decodeMask, UnreadableImage, type MaskMark } from "./decode.ts";
import { InputImages } from "./inputs.ts";

export interface ImageAddresses {
  readonly image_url?: string | null | undefined;
  readonly mask_url?: string | null | undefined;
  /** The image itself, where bytes can be sent; wins over its address. */
  readonly image_bytes?: Uint8Array | undefined;
}

/** Bytes that came with the request, or an address. */
export type ImageSource = Buffer | string;

/** The images of a request as its dialect has them. */
export interface InputSources {
  readonly image: ImageSource;
  readonly mask: ImageSource | null;
  readonly conventions: InputConventions;
}

export interface InputConventions {
  readonly maskMark: MaskMark;
  /** Paths inside the body, which errors name. */
  readonly fields: { readonly image: readonly string[]; readonly mask: readonly string[] };
}

const OURS: InputConventions = { maskMark: "white", fields: { image: ["image_url"], mask: ["mask_url"] } };

/** The files as they were sent. */
export interface InputFiles {
  readonly image: Buffer;
  readonly mask: Buffer | null;
}

/** A file of this server by the last part of its address; undefined when there is none. */
export type ReadFile = (key: string) => Promise<Buffer | undefined>;

const DATA_URI = /^data:[^,]{0,200};base64,/i;

/** Undefined for a request without images. Rejects with `invalid_request` naming the field. */
export async function readInputFiles(addresses: ImageAddresses, readFile: ReadFile): Promise<InputFiles | undefined> {
  const sources = sourcesOf(addresses);
  return sources === undefined ? undefined : readSources(sources, readFile);
}

/** Rejects with `invalid_request` naming the field whose file is no image that can be read. */
export async function openInputFiles(
  { image, mask }: InputFiles,
  { maskMark, fields }: InputConventions = OURS,
): Promise<InputImages> {
  const decoded = await readable(fields.image, () => decodeImage(image));
  return new InputImages({
    image: decoded,
    mask: mask === null ? null : await readable(fields.mask, () => decodeMask(mask, maskMark)),
    digests: { image: digest(image), mask: mask === null ? null : digest(mask) },
  });
}

/** {@link readInputFiles} and {@link openInputFiles}, where the files themselves are of no further use. */
export async function openInputs(addresses: ImageAddresses, readFile: ReadFile): Promise<InputImages | undefined> {
  const sources = sourcesOf(addresses);
  return sources === undefined ? undefined : openSources(sources, readFile);
}

/** Rejects with `invalid_request` naming the field that cannot be read. */
export async function openSources(sources: InputSources, readFile: ReadFile): Promise<InputImages> {
  return openInputFiles(await readSources(sources, readFile), sources.conventions);
}

function sourcesOf(addresses: ImageAddresses): InputSources | undefined {
  const { image_url: imageUrl, mask_url: mask, image_bytes: bytes } = addresses;
  const image = bytes === undefined ? imageUrl : Buffer.from(bytes);
  if (image !== undefined && image !== null) return { image, mask: mask ?? null, conventions: OURS };
  if (mask !== undefined && mask !== null) throw problem(OURS.fields.mask, "needs image_url", "missing_image");
  return undefined;
}

async function readSources({ image, mask, conventions }: InputSources, readFile: ReadFile): Promise<InputFiles> {
  const { fields } = conventions;
  return {
    image: await read(fields.image, image, readFile),
    mask: mask === null ? null : await read(fields.mask, mask, readFile),
  };
}

async function read(field: readonly string[], source: ImageSource, readFile: ReadFile): Promise<Buffer> {
  return typeof source === "string" ? readAddress(field, source, readFile) : source;
}

async function readAddress(field: readonly string[], address: string, readFile: ReadFile): Promise<Buffer> {
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

async function readable<Value>(field: readonly string[], decode: () => Promise<Value>): Promise<Value> {
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

function problem(field: readonly string[], msg: string, type: string): LatentcastError {
  return new LatentcastError("invalid_request", {
    fields: [{ loc: ["body", ...field], msg, type }],
    message: `${field.join(".")}: ${msg}`,
  });
}
