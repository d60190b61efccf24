/**
 * Reads the images of a request: from bytes, data URIs and files of this server; where that is switched on, from elsewhere.
 */
import { createHash } from "node:crypto";
import { LatentcastError } from "../errors.ts";
import { Unfetchable } from "../net/fetch-image.ts";
import { decodeImage, decodeMask, UnreadableImage, type MaskMark } from "./decode.ts";
import type { HeldMemory, InputMemory } from "./input-memory.ts";
import { InputImages } from "./inputs.ts";

/** How large the image that is made will be, where the request says so. */
export interface AskedSize {
  readonly width?: number | undefined;
  readonly height?: number | undefined;
}

/** The part of a request that says what it starts from. */
export interface ImageInput extends AskedSize {
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

/** A request's images, ready to be drawn from, and the files that they came from. */
export interface OpenedImages {
  readonly inputs: InputImages;
  readonly files: InputFiles;
}

export interface InputReaderOptions {
  readonly memory: InputMemory;
  /** A file of this server by the last part of its address; undefined when there is none. */
  readonly readFile: (key: string) => Promise<Buffer | undefined>;
  /** The bytes of an image elsewhere; absent where nothing is fetched. Throws {@link Unfetchable}. */
  readonly fetchImage?: ((address: string, signal?: AbortSignal) => AsyncIterable<Buffer>) | undefined;
}

type Field = readonly string[];

const DATA_URI = /^data:[^,]{0,200};base64,/i;
/** Neither what is decoded nor what is drawn has a longer side. */
const MAX_SIDE = 2_048;

export class InputReader {
  readonly #options: InputReaderOptions;

  constructor(options: InputReaderOptions) {
    this.#options = options;
  }

  /** {@link openSources} of a request in our own shape; undefined for one without images. */
  async open(input: ImageInput, signal?: AbortSignal): Promise<OpenedImages | undefined> {
    const sources = sourcesOf(input);
    return sources === undefined ? undefined : this.openSources(sources, input, signal);
  }

  /**
   * Rejects with `invalid_request` naming the field that cannot be read, or with `queue_full` where waiting requests hold too much memory
   * already. What it resolves with holds memory until it is released.
   * @param signal Fires when nobody waits any more.
   */
  async openSources(sources: InputSources, size: AskedSize, signal?: AbortSignal): Promise<OpenedImages> {
    const { conventions } = sources;
    const { fields } = conventions;
    const memory = this.#options.memory.open();
    return releasingOnFailure(memory, async () => {
      const image = await this.#read(fields.image, sources.image, { memory, before: 0, signal });
      const reading = { memory, before: image.byteLength, signal };
      const mask = sources.mask === null ? null : await this.#read(fields.mask, sources.mask, reading);
      const files = { image, mask };
      return { files, inputs: await decode(files, conventions, memory, size) };
    });
  }

  /** Images of a request that was accepted before. Rejects with `invalid_request` naming the field that is no image. */
  async reopen(files: InputFiles, size: AskedSize): Promise<InputImages> {
    const memory = this.#options.memory.open({ isKnown: true });
    return releasingOnFailure(memory, () => decode(files, OURS, memory, size));
  }

  async #read(field: Field, source: ImageSource, reading: Reading): Promise<Buffer> {
    return typeof source === "string" ? this.#follow(field, source, reading) : counted(source, reading);
  }

  async #follow(field: Field, address: string, reading: Reading): Promise<Buffer> {
    const prefix = DATA_URI.exec(address.slice(0, 256));
    if (prefix !== null) return counted(Buffer.from(address.slice(prefix[0].length), "base64"), reading);
    if (/^data:/i.test(address)) throw problem(field, "is a data URI that is not in base64", "unsupported_address");
    const key = fileKeyOf(address);
    const file = key === undefined ? undefined : await this.#options.readFile(key);
    if (file !== undefined) return counted(file, reading);
    const isElsewhere = /^https?:/i.test(address);
    if (key !== undefined && !isElsewhere)
      throw problem(field, "names a file that does not exist, or has expired", "unknown_file");
    if (this.#options.fetchImage !== undefined && isElsewhere) return this.#fetch(field, address, reading);
    throw problem(
      field,
      "must be a data URI or a file that was uploaded to this server; other addresses are not fetched",
      "unsupported_address",
    );
  }

  async #fetch(field: Field, address: string, { memory, before, signal }: Reading): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let count = before;
    try {
      for await (const chunk of this.#options.fetchImage?.(address, signal) ?? []) {
        count += chunk.byteLength;
        memory.claim(count);
        chunks.push(chunk);
      }
    } catch (error) {
      if (error instanceof Unfetchable) throw problem(field, error.message, "unfetchable_image");
      throw signal?.aborted === true ? new LatentcastError("cancelled") : error;
    }
    return Buffer.concat(chunks);
  }
}

interface Reading {
  readonly memory: HeldMemory;
  /** Bytes that the request holds already. */
  readonly before: number;
  readonly signal: AbortSignal | undefined;
}

function counted(file: Buffer, { memory, before }: Reading): Buffer {
  memory.claim(before + file.byteLength);
  return file;
}

async function releasingOnFailure<Value>(memory: HeldMemory, work: () => Promise<Value>): Promise<Value> {
  try {
    return await work();
  } catch (error) {
    memory.settle(0);
    throw error;
  }
}

function sourcesOf(input: ImageInput): InputSources | undefined {
  const { image_url: imageUrl, mask_url: mask, image_bytes: bytes } = input;
  const image = bytes === undefined ? imageUrl : Buffer.from(bytes);
  if (image !== undefined && image !== null) return { image, mask: mask ?? null, conventions: OURS };
  if (mask !== undefined && mask !== null) throw problem(OURS.fields.mask, "needs image_url", "missing_image");
  return undefined;
}

async function decode(
  { image, mask }: InputFiles,
  { maskMark, fields }: InputConventions,
  memory: HeldMemory,
  size: AskedSize,
): Promise<InputImages> {
  const decoded = {
    image: await readable(fields.image, () => decodeImage(image)),
    mask: mask === null ? null : await readable(fields.mask, () => decodeMask(mask, maskMark)),
  };
  const held = decoded.image.bytes.byteLength + (decoded.mask?.bytes.byteLength ?? 0);
  const channels = decoded.mask === null ? 3 : 4;
  memory.claim(Math.max(held, mostPixels(size, decoded.image) * channels));
  const digests = { image: digest(image), mask: mask === null ? null : digest(mask) };
  return new InputImages({ ...decoded, digests, memory });
}

/** Of the image that is drawn, as far as that is known before the model is: sides that were not asked for follow from the image. */
function mostPixels({ width, height }: AskedSize, image: { readonly width: number; readonly height: number }): number {
  if (width === undefined && height === undefined) return image.width * image.height;
  return Math.min(width ?? MAX_SIDE, MAX_SIDE) * Math.min(height ?? MAX_SIDE, MAX_SIDE);
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

async function readable<Value>(field: Field, work: () => Promise<Value>): Promise<Value> {
  try {
    return await work();
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
