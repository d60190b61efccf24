/** Images and uploads of a fleet, in a stream that every gateway reads. The oldest give way to newer ones. */
import { Readable } from "node:stream";
import type { NewObject, ObjectStore, StoredObject } from "../../storage/object-store.ts";
import type { Bus } from "../bus.ts";
import type { Layout } from "../layout.ts";
import { FileCache, isWhole, type CachedFile } from "./file-cache.ts";
import { isOver, Parts } from "./parts.ts";
import { storing } from "./store-errors.ts";

export interface FleetStoreOptions {
  readonly bus: Bus;
  readonly layout: Layout;
  /** How long results and files are kept. */
  readonly keepMs: number;
  /** The servers' time, unless a test has its own. */
  readonly now?: () => number;
}

export interface FleetObjectOptions extends FleetStoreOptions {
  /** Of files that were read lately, kept in memory: a file that has given way to newer ones may be served from there. None if absent. */
  readonly cacheBytes?: number;
}

export class FleetObjectStore implements ObjectStore {
  readonly #parts: Parts;
  readonly #cache: FileCache;
  readonly #keepMs: number;
  readonly #now: () => number;

  constructor({ bus, layout, keepMs, now = () => bus.now(), cacheBytes = 0 }: FleetObjectOptions) {
    this.#parts = new Parts(bus, layout.fileParts);
    this.#cache = new FileCache(cacheBytes);
    this.#keepMs = keepMs;
    this.#now = now;
  }

  put({ key, contentType }: NewObject, content: Buffer | Readable, limitBytes?: number): Promise<void> {
    const createdAtMs = this.#now();
    this.#cache.forget(key);
    const file = { key, contentType, createdAtMs, expiresAtMs: createdAtMs + this.#keepMs, limitBytes };
    return storing(() => this.#parts.put(file, content));
  }

  async find(key: string): Promise<StoredObject | undefined> {
    const now = this.#now();
    const head = this.#cache.get(key, now)?.head ?? (await this.#find(key))?.head;
    if (head === undefined || isOver(head, now)) return undefined;
    const { type: contentType, size: sizeBytes, createdAtMs } = head;
    return { key, contentType, sizeBytes, createdAtMs, remainingMs: Math.max(1, (head.expiresAtMs ?? now) - now) };
  }

  open(key: string): Promise<Readable> {
    return Promise.resolve(Readable.from(this.#read(key), { objectMode: false }));
  }

  async remove(keys: readonly string[]): Promise<void> {
    for (const key of keys) this.#cache.forget(key);
    await storing(() => Promise.all(keys.map((key) => this.#parts.remove(key))));
  }

  async #find(key: string): Promise<CachedFile | undefined> {
    const found = await storing(() => this.#parts.find(key));
    if (found === undefined) return undefined;
    this.#cache.found(key, found);
    return { head: found.head, parts: [found.start] };
  }

  async *#read(key: string): AsyncGenerator<Buffer, void, undefined> {
    const file = this.#cache.get(key, this.#now()) ?? (await this.#find(key));
    if (file === undefined) throw new Error(`there is no file ${key}`);
    yield* file.parts;
    if (isWhole(file)) return;
    const { head } = file;
    const parts = [...file.parts];
    for await (const part of this.#parts.rest(key, head)) {
      if (this.#cache.takes(head)) parts.push(part);
      yield part;
    }
    if (this.#cache.takes(head)) this.#cache.read(key, { head, parts });
  }

  /** The servers do it by themselves. */
  expire(): Promise<void> {
    return Promise.resolve();
  }
}
