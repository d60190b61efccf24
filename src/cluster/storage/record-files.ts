/** Records with what is too large for them, and the images that a request starts from: files that belong to one request. */
import { randomBytes } from "node:crypto";
import type { InputFiles } from "../../images/source.ts";
import { writeRecord, type AcceptedRequest } from "../../storage/request-record.ts";
import type { Ended } from "../../storage/request-store.ts";
import type { Bus } from "../bus.ts";
import type { Layout } from "../layout.ts";
import { Parts } from "./parts.ts";
import { changed, filesOf, inside, isFile, newHead } from "./state-record.ts";
import type { NewRecord, Placed, PlacedFile, StateHeader } from "./state-record.ts";

/** Records are copied with every change; a small one is written in 2 ms. */
const INSIDE_BYTES = 32 * 1_024;

type Place = "files" | "inputs";

interface Times {
  readonly nowMs: number;
  readonly keepMs: number;
}

export class RecordFiles {
  readonly #files: Parts;
  readonly #inputs: Parts;
  readonly #layout: Layout;
  readonly #bus: Bus;

  constructor(bus: Bus, layout: Layout) {
    this.#bus = bus;
    this.#layout = layout;
    this.#files = new Parts(bus, layout.fileParts);
    this.#inputs = new Parts(bus, layout.inputParts);
  }

  async newRecord(request: AcceptedRequest, ended: Ended | undefined, time: Times): Promise<NewRecord> {
    const text = Buffer.from(writeRecord(request));
    if (ended === undefined) {
      const place = await this.place(request.id, text, time.nowMs, null);
      return { head: newHead(request, place), payload: insideOnly([[place, text]]) };
    }
    const head = newHead(request, { bytes: text.byteLength });
    return this.endedRecord({ head, payload: text }, text, ended, time);
  }

  /** Nothing of it gives way to other files while a webhook is due. Rejects with `StreamFull`; nothing is left then. */
  async endedRecord(record: NewRecord, request: Buffer, ended: Ended, { nowMs, keepMs }: Times): Promise<NewRecord> {
    const { id, hook } = record.head;
    const expiresAtMs = nowMs + keepMs;
    const texts = { request, result: Buffer.from(writeRecord(ended.result)), body: ended.body };
    const places: [Placed, Buffer][] = [];
    try {
      for (const text of Object.values(texts))
        places.push([await this.place(id, text, nowMs, hook === null ? expiresAtMs : null), text]);
    } catch (error) {
      await this.#removeFiles(places.map(([place]) => place).filter(isFile));
      throw error;
    }
    const [first, result = null, body = null] = places.map(([place]) => place);
    const facts = { kind: "ended", holder: null, leaseUntilMs: null, expiresAtMs, result, body } as const;
    const ends = { ...facts, request: first ?? record.head.request, hook: hook && { ...hook, isDue: true } };
    return { head: changed(record, ends).head, payload: insideOnly(places) };
  }

  /** @param expiresAtMs Null for what is removed when its request has ended, or its webhook is delivered. */
  async place(id: string, bytes: Buffer, nowMs: number, expiresAtMs: number | null): Promise<Placed> {
    if (bytes.byteLength <= INSIDE_BYTES) return { bytes: bytes.byteLength };
    const where = expiresAtMs === null ? "inputs" : "files";
    const key = newKey(id);
    const file = { key, contentType: "application/octet-stream", createdAtMs: nowMs, expiresAtMs };
    await this.#parts(where).put(file, bytes);
    return { key, bytes: bytes.byteLength, in: where };
  }

  /** Undefined when it has given way to newer files. */
  async read(record: NewRecord, text: "request" | "result" | "body"): Promise<Buffer | undefined> {
    const place = record.head[text];
    if (place === null) return undefined;
    return isFile(place) ? this.#parts(place.in).bytes(place.key) : inside(record, text);
  }

  async isThere(place: Placed | null): Promise<boolean> {
    if (place === null || !isFile(place)) return true;
    return (await this.#parts(place.in).find(place.key)) !== undefined;
  }

  /** Returns the names under which the images are kept. */
  async putInputs(id: string, { image, mask }: InputFiles, nowMs: number): Promise<AcceptedRequest["inputFiles"]> {
    const put = async (bytes: Buffer): Promise<string> => {
      const key = newKey(id);
      const file = { key, contentType: "application/octet-stream", createdAtMs: nowMs, expiresAtMs: null };
      await this.#inputs.put(file, bytes);
      return key;
    };
    const imageKey = await put(image);
    try {
      return { image: imageKey, mask: mask === null ? null : await put(mask) };
    } catch (error) {
      await this.removeInputs({ image: imageKey, mask: null });
      throw error;
    }
  }

  async readInputs(keys: NonNullable<AcceptedRequest["inputFiles"]>): Promise<InputFiles | undefined> {
    const image = await this.#inputs.bytes(keys.image);
    const mask = keys.mask === null ? null : await this.#inputs.bytes(keys.mask);
    return image === undefined || mask === undefined ? undefined : { image, mask };
  }

  async removeInputs(keys: AcceptedRequest["inputFiles"]): Promise<void> {
    if (keys === undefined) return;
    await Promise.all([keys.image, ...(keys.mask === null ? [] : [keys.mask])].map((key) => this.#inputs.remove(key)));
  }

  /** Files of a write that did not count, or of a record that another has replaced. */
  async remove(head: StateHeader, kept?: StateHeader): Promise<void> {
    const names = new Set((kept === undefined ? [] : filesOf(kept)).map(({ key }) => key));
    await this.#removeFiles(filesOf(head).filter(({ key }) => !names.has(key)));
  }

  /**
   * Removes inputs whose request is not there any more, or has ended: of processes that died between two writes.
   * @param isNeeded Of a request by its id.
   */
  async sweep(olderThanMs: number, isNeeded: (id: string) => Promise<boolean>): Promise<void> {
    const { inputParts } = this.#layout;
    const newest = new Map<string, number>();
    const stop = new AbortController();
    const watched = this.#bus.watch(inputParts.stream, inputParts.every, { signal: stop.signal, headersOnly: true });
    for await (const stored of watched) {
      if (stored === "caught-up") break;
      const key = inputParts.keyIn(stored.subject);
      newest.set(key, Math.max(newest.get(key) ?? 0, stored.storedAtMs));
    }
    stop.abort();
    for (const [key, storedAtMs] of newest)
      if (storedAtMs < olderThanMs && !(await isNeeded(ownerOf(key)))) await this.#inputs.remove(key);
  }

  async #removeFiles(places: readonly PlacedFile[]): Promise<void> {
    await Promise.all(places.map((place) => this.#parts(place.in).remove(place.key)));
  }

  #parts(place: Place): Parts {
    return place === "files" ? this.#files : this.#inputs;
  }
}

/** A new one for each attempt, so that nobody removes the winner's. */
const newKey = (id: string): string => `${id}~${randomBytes(9).toString("base64url")}`;
const ownerOf = (key: string): string => key.slice(0, key.lastIndexOf("~"));

function insideOnly(texts: readonly (readonly [Placed, Buffer])[]): Buffer {
  return Buffer.concat(texts.flatMap(([place, text]) => (isFile(place) ? [] : [text])));
}
