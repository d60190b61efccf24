/** The pictures of this browser, in IndexedDB. The oldest make room for new ones. */
import { openStore, settled } from "./indexed-db.ts";
import type { FrameContent } from "./plate.ts";
import { NO_VALUES, type Values } from "./values.ts";

export interface HistoryEntry {
  /** Later pictures have larger ones. */
  readonly id: number;
  readonly values: Values;
  /** The last one is the finished picture. */
  readonly frames: readonly FrameContent[];
}

const DATABASE = "latentcast";
const STORE = "pictures";

/** A finished SDXL picture with its previews is about a megabyte as JPEG, three as PNG. */
const MAX_ENTRIES = 60;
const MAX_TOTAL_BYTES = 150_000_000;

export class HistoryStore {
  readonly #opened: Promise<IDBDatabase>;

  constructor() {
    this.#opened = openStore(DATABASE, STORE, { keyPath: "id", autoIncrement: true });
    // Whoever asks for pictures hears of it.
    this.#opened.catch(() => undefined);
  }

  /** Newest first. */
  async all(): Promise<HistoryEntry[]> {
    const database = await this.#opened;
    // This page alone writes this store.
    const entries = (await settled(database.transaction(STORE).objectStore(STORE).getAll())) as HistoryEntry[];
    // Pages of earlier versions had fewer fields.
    return entries.reverse().map((entry) => ({ ...entry, values: { ...NO_VALUES, ...entry.values } }));
  }

  async add(entry: Omit<HistoryEntry, "id">): Promise<void> {
    const database = await this.#opened;
    const store = database.transaction(STORE, "readwrite").objectStore(STORE);
    await settled(store.add(entry));
    for (const id of overfull(await this.all())) await this.remove(id);
  }

  async remove(id: number): Promise<void> {
    const database = await this.#opened;
    await settled(database.transaction(STORE, "readwrite").objectStore(STORE).delete(id));
  }

  /** Puts back what was removed, in its old place. */
  async restore(entry: HistoryEntry): Promise<void> {
    const database = await this.#opened;
    await settled(database.transaction(STORE, "readwrite").objectStore(STORE).put(entry));
  }

  async clear(): Promise<void> {
    const database = await this.#opened;
    await settled(database.transaction(STORE, "readwrite").objectStore(STORE).clear());
  }
}

/** The ids beyond what is kept, of entries that are newest first. */
function overfull(entries: readonly HistoryEntry[]): number[] {
  let bytes = 0;
  return entries.flatMap(({ id, frames }, index) => {
    bytes += frames.reduce((sum, { blob }) => sum + blob.size, 0);
    return index === 0 || (index < MAX_ENTRIES && bytes <= MAX_TOTAL_BYTES) ? [] : [id];
  });
}
