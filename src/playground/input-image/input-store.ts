/**
 * The images that requests of this browser start from, and their masks. Values, links and the history name them by an id; the bytes
 * are here only, so that a link never carries an image.
 */
import { openStore, settled } from "../indexed-db.ts";

interface StoredInput {
  readonly id: string;
  readonly blob: Blob;
  /** `Date.now()` when it was kept last. */
  readonly usedAt: number;
}

/** Not the history's database: an open tab with an older page would hold up a new version of that one. */
const DATABASE = "latentcast-inputs";
const STORE = "inputs";

/** Of those that no kept picture was made from: the forms of other tabs may name them. */
const MAX_LOOSE = 24;

export class InputStore {
  readonly #opened: Promise<IDBDatabase>;
  /** Those of this page, also where the browser keeps nothing. */
  readonly #atHand = new Map<string, Blob>();

  constructor() {
    this.#opened = openStore(DATABASE, STORE, { keyPath: "id" });
    // Whoever asks for one hears of it.
    this.#opened.catch(() => undefined);
  }

  /** Resolves with the id, the same for the same bytes. */
  async keep(blob: Blob): Promise<string> {
    const id = idOf(new Uint8Array(await blob.arrayBuffer()));
    this.#atHand.set(id, blob);
    try {
      const entry: StoredInput = { id, blob, usedAt: Date.now() };
      await settled((await this.#opened).transaction(STORE, "readwrite").objectStore(STORE).put(entry));
    } catch {
      // It lasts as long as the page.
    }
    return id;
  }

  async find(id: string): Promise<Blob | undefined> {
    const atHand = this.#atHand.get(id);
    if (atHand !== undefined) return atHand;
    try {
      const request = (await this.#opened).transaction(STORE).objectStore(STORE).get(id);
      const blob = ((await settled(request)) as StoredInput | undefined)?.blob;
      if (blob !== undefined) this.#atHand.set(id, blob);
      return blob;
    } catch {
      return undefined;
    }
  }

  /** Gives up what is not among `used`, except for the newest ones. @param spared So many of them. */
  async prune(used: ReadonlySet<string>, spared = MAX_LOOSE): Promise<void> {
    for (const id of this.#atHand.keys()) if (!used.has(id)) this.#atHand.delete(id);
    const database = await this.#opened;
    const all = (await settled(database.transaction(STORE).objectStore(STORE).getAll())) as StoredInput[];
    const loose = all.filter(({ id }) => !used.has(id)).sort((a, b) => b.usedAt - a.usedAt);
    const store = database.transaction(STORE, "readwrite").objectStore(STORE);
    await Promise.all(loose.slice(spared).map(({ id }) => settled(store.delete(id))));
  }
}

/**
 * 64 bits of the bytes (two rounds of FNV-1a with different starts). Nobody else can name an entry, so it need not resist attacks;
 * `crypto.subtle` is missing on pages that came over plain HTTP from another machine.
 */
function idOf(bytes: Uint8Array): string {
  let one = 0x811c9dc5;
  let other = 0x9e3779b1;
  for (const byte of bytes) {
    one = Math.imul(one ^ byte, 0x01000193);
    other = Math.imul(other ^ byte, 0x85ebca6b);
    other ^= other >>> 13;
  }
  return [one, other].map((half) => (half >>> 0).toString(36).padStart(7, "0")).join("");
}
