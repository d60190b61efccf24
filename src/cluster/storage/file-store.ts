/** Images and uploads of a fleet, in a stream that every gateway reads. The oldest give way to newer ones. */
import { Readable } from "node:stream";
import type { NewObject, ObjectStore, StoredObject } from "../../storage/object-store.ts";
import type { Bus } from "../bus.ts";
import type { Layout } from "../layout.ts";
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

export class FleetObjectStore implements ObjectStore {
  readonly #parts: Parts;
  readonly #keepMs: number;
  readonly #now: () => number;

  constructor({ bus, layout, keepMs, now = () => bus.now() }: FleetStoreOptions) {
    this.#parts = new Parts(bus, layout.fileParts);
    this.#keepMs = keepMs;
    this.#now = now;
  }

  put({ key, contentType }: NewObject, content: Buffer | Readable, limitBytes?: number): Promise<void> {
    const createdAtMs = this.#now();
    const file = { key, contentType, createdAtMs, expiresAtMs: createdAtMs + this.#keepMs, limitBytes };
    return storing(() => this.#parts.put(file, content));
  }

  async find(key: string): Promise<StoredObject | undefined> {
    const now = this.#now();
    const head = await storing(() => this.#parts.find(key));
    if (head === undefined || isOver(head, now)) return undefined;
    const { type: contentType, size: sizeBytes, createdAtMs } = head;
    return { key, contentType, sizeBytes, createdAtMs, remainingMs: Math.max(1, (head.expiresAtMs ?? now) - now) };
  }

  open(key: string): Promise<Readable> {
    return Promise.resolve(Readable.from(this.#parts.read(key), { objectMode: false }));
  }

  async remove(keys: readonly string[]): Promise<void> {
    await storing(() => Promise.all(keys.map((key) => this.#parts.remove(key))));
  }

  /** The servers do it by themselves. */
  expire(): Promise<void> {
    return Promise.resolve();
  }
}
