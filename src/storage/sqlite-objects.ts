/** Images and uploads: the bytes as files, what is known of them as rows of SQLite. */
import type { Readable } from "node:stream";
import type { NewObject, ObjectStore, StoredObject } from "./object-store.ts";
import { Conflict } from "./request-store.ts";
import type { SqliteDisk } from "./sqlite-disk.ts";

export class SqliteObjectStore implements ObjectStore {
  readonly #disk: SqliteDisk;
  /** Keys whose bytes are on their way. */
  readonly #writing = new Set<string>();

  constructor(disk: SqliteDisk) {
    this.#disk = disk;
  }

  async put(object: NewObject, content: Buffer | Readable, limitBytes?: number): Promise<void> {
    const { key } = object;
    if (this.#writing.has(key) || this.#disk.read.hasObject.get(key) !== undefined)
      throw new Conflict(`there is an object ${key} already`);
    this.#writing.add(key);
    try {
      await this.#write(object, content, limitBytes);
    } finally {
      this.#writing.delete(key);
    }
  }

  async find(key: string): Promise<StoredObject | undefined> {
    const row = this.#disk.read.findFile.get(key);
    const remainingMs = row === undefined ? 0 : row.expires_at - this.#disk.clock.now();
    if (row === undefined || remainingMs <= 0) return undefined;
    const { content_type: contentType, size: sizeBytes, created_at: createdAtMs } = row;
    return { key, contentType, sizeBytes, createdAtMs, remainingMs };
  }

  async open(key: string): Promise<Readable> {
    return this.#disk.files.read(key);
  }

  async remove(keys: readonly string[]): Promise<void> {
    await this.#disk.forget(keys, []);
  }

  async expire(): Promise<void> {
    const files = await this.#disk.read.expiredFiles.all(this.#disk.clock.now());
    await this.#disk.forget(
      files.map(({ key }) => key),
      [],
    );
  }

  async #write({ key, contentType }: NewObject, content: Buffer | Readable, limitBytes?: number): Promise<void> {
    const { clock, files, keepMs, write } = this.#disk;
    if (Buffer.isBuffer(content)) await this.#disk.makeRoom(content.byteLength);
    const sizeBytes = await this.#disk.filling(() => files.write(key, content, limitBytes));
    try {
      if (!Buffer.isBuffer(content)) await this.#disk.makeRoom(sizeBytes);
      await this.#disk.commit(() => {
        write.putObject.run(key, "file", contentType, sizeBytes, Date.now(), clock.now() + keepMs);
      });
    } catch (error) {
      await files.remove([key]);
      throw error;
    }
    this.#disk.grow(sizeBytes);
  }
}
