/** Files that this process has read lately: they never change, so nobody has to be asked for them again. */
import { LRUCache } from "lru-cache";
import { isOver, type FileHead, type FoundFile } from "./parts.ts";

/** What is known of a file: its first part, or all of it. */
export interface CachedFile {
  readonly head: FileHead;
  readonly parts: readonly Buffer[];
}

/** One file takes this share at most, so that a few large ones do not push out all the others. */
const LARGEST_SHARE = 1 / 4;
/** Of an entry beside its bytes. */
const ENTRY_BYTES = 1_024;

export class FileCache {
  readonly #files: LRUCache<string, CachedFile> | undefined;
  readonly #largestBytes: number;

  /** @param maxBytes 0 keeps nothing. */
  constructor(maxBytes: number) {
    this.#largestBytes = Math.floor(maxBytes * LARGEST_SHARE);
    if (maxBytes > 0) this.#files = new LRUCache({ maxSize: maxBytes, sizeCalculation: sizeOf });
  }

  /** Undefined also for a file that has been kept long enough. */
  get(key: string, nowMs: number): CachedFile | undefined {
    const file = this.#files?.get(key);
    return file === undefined || isOver(file.head, nowMs) ? undefined : file;
  }

  found(key: string, { head, start }: FoundFile): void {
    this.#files?.set(key, { head, parts: [start] });
  }

  /** Whether all of it may be kept. */
  takes({ size }: FileHead): boolean {
    return size <= this.#largestBytes;
  }

  read(key: string, file: CachedFile): void {
    this.#files?.set(key, file);
  }

  forget(key: string): void {
    this.#files?.delete(key);
  }
}

export function isWhole({ head, parts }: CachedFile): boolean {
  return parts.length === head.parts;
}

function sizeOf({ parts }: CachedFile): number {
  return parts.reduce((sum, { byteLength }) => sum + byteLength, ENTRY_BYTES);
}
