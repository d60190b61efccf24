/**
 * Files in a stream, in parts that fit into a message. The first part is written last, with what is known of the whole, under the condition
 * that there is none: so a file appears at once and complete, and of two writers one wins. All but the first part carry the name of the
 * attempt, so that the loser's are never taken for the winner's.
 */
import { randomBytes } from "node:crypto";
import type { Readable } from "node:stream";
import { z } from "zod";
import { LatentcastError } from "../../errors.ts";
import { Conflict } from "../../storage/request-store.ts";
import { WrongSequence, type Bus, type Stored } from "../bus.ts";
import type { PartSubjects } from "../layout.ts";

/** Larger messages hold up the replication of everything behind them. */
const PART_BYTES = 512 * 1_024;

const fileHead = z.object({
  v: z.literal(1),
  type: z.string(),
  size: z.number(),
  parts: z.int().min(1),
  attempt: z.string(),
  /** Sequence of the part that was written first, which an eviction takes first; null where there is one part. */
  first: z.number().nullable(),
  createdAtMs: z.number(),
  expiresAtMs: z.number().nullable(),
});

export type FileHead = Readonly<z.infer<typeof fileHead>> & { readonly sequence: number };

export interface FoundFile {
  readonly head: FileHead;
  /** The first part; all of it where there is one. */
  readonly start: Buffer;
}

export interface NewFile {
  readonly key: string;
  readonly contentType: string;
  readonly createdAtMs: number;
  /** Null for one that is removed by name. */
  readonly expiresAtMs: number | null;
  readonly limitBytes?: number | undefined;
}

export class Parts {
  readonly #bus: Bus;
  readonly #subjects: PartSubjects;
  #maxBytes: number | undefined;

  constructor(bus: Bus, subjects: PartSubjects) {
    this.#bus = bus;
    this.#subjects = subjects;
  }

  /**
   * Rejects with `Conflict` before `content` is read, with `storage_full`, `payload_too_large`, or what `content` fails with; nothing is
   * left then. With `BusUnavailable` the file may be there.
   */
  async put(file: NewFile, content: Buffer | Readable): Promise<void> {
    const { key, createdAtMs, expiresAtMs } = file;
    const { stream } = this.#subjects;
    // A stream may fail before it is read; it says so again then.
    if (!Buffer.isBuffer(content)) content.once("error", () => undefined);
    const replaced = (await this.#head(key))?.head;
    if (replaced !== undefined && !isOver(replaced, createdAtMs)) throw new Conflict(`there is a file ${key} already`);
    const attempt = randomBytes(9).toString("base64url");
    const ttl = expiresAtMs === null ? {} : { ttlMs: expiresAtMs - createdAtMs };
    const put = (subject: string, header: object, bytes: Buffer, expected: number): Promise<number> =>
      this.#bus.put(stream, subject, { ...header }, bytes, { id: `${attempt}.${subject}`, expected, ...ttl });
    try {
      let head: Buffer | undefined;
      let [parts, size, first]: [number, number, number | null] = [0, 0, null];
      for await (const part of this.#split(content, file.limitBytes)) {
        size += part.byteLength;
        if (parts === 0) head = part;
        else {
          const sequence = await put(this.#subjects.part(key, attempt, parts), { v: 1 }, part, 0);
          first ??= sequence;
        }
        parts += 1;
      }
      const known = {
        v: 1,
        type: file.contentType,
        size,
        parts: Math.max(1, parts),
        attempt,
        first,
        createdAtMs,
        expiresAtMs,
      };
      await put(this.#subjects.head(key), known, head ?? Buffer.alloc(0), replaced?.sequence ?? 0);
    } catch (error) {
      await this.#bus.purge(stream, this.#subjects.partsOf(key, attempt)).catch(() => undefined);
      if (error instanceof WrongSequence) throw new Conflict(`there is a file ${key} already`, { cause: error });
      throw error;
    }
    if (replaced !== undefined) await this.#bus.purge(stream, this.#subjects.partsOf(key, replaced.attempt));
  }

  /** Undefined also for a file of which parts have given way to newer ones. */
  async find(key: string): Promise<FoundFile | undefined> {
    const found = await this.#head(key);
    if (found === undefined || found.head.first === null) return found;
    const { firstSequence } = await this.#bus.fill(this.#subjects.stream);
    return firstSequence <= found.head.first ? found : undefined;
  }

  /** Its parts but for the first. Fails when one has given way to newer ones. */
  async *rest(key: string, { attempt, parts }: FileHead): AsyncGenerator<Buffer, void, undefined> {
    for (let part = 1; part < parts; part += 1) {
      const next = await this.#newest(this.#subjects.part(key, attempt, part));
      if (next === undefined) throw new Error(`part ${part} of ${key} has been forgotten`);
      yield next.payload;
    }
  }

  /** Undefined when it is gone, or some of it. */
  async bytes(key: string): Promise<Buffer | undefined> {
    const found = await this.find(key);
    if (found === undefined) return undefined;
    const read = [found.start];
    for await (const part of this.rest(key, found.head)) read.push(part);
    return Buffer.concat(read);
  }

  async remove(key: string): Promise<void> {
    await this.#bus.purge(this.#subjects.stream, this.#subjects.everythingOf(key));
  }

  async #head(key: string): Promise<FoundFile | undefined> {
    const stored = await this.#newest(this.#subjects.head(key));
    if (stored === undefined) return undefined;
    return { head: { ...fileHead.parse(stored.header), sequence: stored.sequence }, start: stored.payload };
  }

  /** Files never change, so any server's word is good; one that is behind may not know of it yet. */
  async #newest(subject: string): Promise<Stored | undefined> {
    const { stream } = this.#subjects;
    return (await this.#bus.getNearby(stream, subject)) ?? (await this.#bus.get(stream, subject));
  }

  async *#split(content: Buffer | Readable, limitBytes = Number.POSITIVE_INFINITY): AsyncGenerator<Buffer> {
    this.#maxBytes ??= (await this.#bus.fill(this.#subjects.stream)).maxBytes;
    const partBytes = Math.min(PART_BYTES, Math.floor((this.#bus.maxPayload * 3) / 4));
    let [waiting, size]: [Buffer, number] = [Buffer.alloc(0), 0];
    for await (const chunk of Buffer.isBuffer(content) ? [content] : (content as AsyncIterable<Buffer>)) {
      size += chunk.byteLength;
      if (size > limitBytes) throw new LatentcastError("payload_too_large");
      if (size > this.#maxBytes) throw new LatentcastError("storage_full");
      waiting = waiting.byteLength === 0 ? chunk : Buffer.concat([waiting, chunk]);
      while (waiting.byteLength > partBytes) {
        yield waiting.subarray(0, partBytes);
        waiting = waiting.subarray(partBytes);
      }
    }
    if (waiting.byteLength > 0) yield waiting;
  }
}

export function isOver({ expiresAtMs }: Pick<FileHead, "expiresAtMs">, nowMs: number): boolean {
  return expiresAtMs !== null && expiresAtMs <= nowMs;
}
