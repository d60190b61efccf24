/** The port to whatever keeps files: images and uploads. test/contract/object-store.ts is the law of every implementation. */
import type { Readable } from "node:stream";

export interface NewObject {
  readonly key: string;
  readonly contentType: string;
}

export interface StoredObject extends NewObject {
  readonly sizeBytes: number;
  /** Milliseconds since 1970. */
  readonly createdAtMs: number;
  /** Until it is forgotten; at least 1. */
  readonly remainingMs: number;
}

export interface ObjectStore {
  /**
   * Everything is on the disk when it resolves, nothing is left when it rejects: with `Conflict` when the key is taken (before
   * `content` is read), with `storage_full` when there is no room, with `payload_too_large` when a stream brings more than `limitBytes`.
   */
  put(object: NewObject, content: Buffer | Readable, limitBytes?: number): Promise<void>;
  find(key: string): Promise<StoredObject | undefined>;
  /** Of an object that was found; the stream fails when it has been forgotten since. */
  open(key: string): Promise<Readable>;
  /** Forgets objects before their time: nobody will hear of them. Unknown keys are no error. */
  remove(keys: readonly string[]): Promise<void>;
  /** Forgets what has been kept long enough. */
  expire(): Promise<void>;
}
