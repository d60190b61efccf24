/** Images, uploads and large responses as files of their own: written to the end, then named. */
import { createReadStream } from "node:fs";
import { open, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { LatentcastError } from "../errors.ts";
import { makeFolder } from "../make-folder.ts";

const UNFINISHED = ".part";

export class ObjectFiles {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async open(folder: string): Promise<ObjectFiles> {
    await makeFolder(folder, 0o700);
    return new ObjectFiles(folder);
  }

  /** Returns the size. The bytes are on the disk, and the name is there, when it resolves; nothing is left when it rejects. */
  async write(key: string, content: Buffer | Readable, limitBytes = Number.POSITIVE_INFINITY): Promise<number> {
    // A stream may fail while the file is being opened; it says so again when it is read.
    if (!Buffer.isBuffer(content)) content.once("error", () => undefined);
    const path = this.#path(key);
    const file = await open(path + UNFINISHED, "w", 0o600);
    let sizeBytes = 0;
    try {
      for await (const chunk of Buffer.isBuffer(content) ? [content] : (content as AsyncIterable<Buffer>)) {
        sizeBytes += chunk.byteLength;
        if (sizeBytes > limitBytes) throw new LatentcastError("payload_too_large");
        await file.writeFile(chunk);
      }
      await file.sync();
    } catch (error) {
      await file.close();
      await rm(path + UNFINISHED, { force: true });
      throw error;
    }
    await file.close();
    await rename(path + UNFINISHED, path);
    await this.#syncFolder();
    return sizeBytes;
  }

  read(key: string): Readable {
    return createReadStream(this.#path(key));
  }

  async remove(keys: Iterable<string>): Promise<void> {
    for (const key of keys) await rm(this.#path(key), { force: true });
  }

  /** Removes unfinished files, and files that no row names. */
  async sweep(isKnown: (key: string) => boolean): Promise<void> {
    await this.remove((await readdir(this.#folder)).filter((name) => !isKnown(name)));
  }

  /** The new name has to survive a power cut as well. Windows has no such call, and needs none. */
  async #syncFolder(): Promise<void> {
    if (process.platform === "win32") return;
    const folder = await open(this.#folder, "r");
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  }

  #path(key: string): string {
    return join(this.#folder, key);
  }
}
