/** The queue's store on this machine: rows in SQLite, large bytes in files beside it, the sum of both bounded. */
import { randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { LatentcastError } from "../errors.ts";
import { lockDataDir, type DataLock } from "./data-lock.ts";
import { GroupCommit } from "./group-commit.ts";
import { ObjectFiles } from "./object-files.ts";
import { openDatabase, sqliteCode, type Database } from "./sqlite.ts";
import { migrate, prepareStatements, toStored, type Statements } from "./sqlite-schema.ts";
import type {
  AcceptedRequest,
  Answer,
  Ending,
  NewObject,
  PendingWebhook,
  QueueStore,
  StoredObject,
  StoredRequest,
} from "./request-store.ts";

export interface SqliteStoreOptions {
  readonly dataDir: string;
  /** Rows and files together; what expires first is forgotten early to stay below it. */
  readonly limitBytes: number;
  /** How long endings and their files are kept. */
  readonly keepMs: number;
}

/** Larger answers carry pictures; as a row they would be copied through SQLite's cache on this thread. */
const MAX_INLINE_BYTES = 32 * 1_024;

interface PlacedBody {
  readonly inline: Buffer | null;
  readonly key: string | null;
  readonly sizeBytes: number;
}

export class SqliteStore implements QueueStore {
  readonly #options: SqliteStoreOptions;
  readonly #lock: DataLock;
  readonly #writer: Database;
  readonly #reader: Database;
  readonly #commits: GroupCommit;
  readonly #files: ObjectFiles;
  readonly #write: Statements;
  /** On a connection of their own: the writer's is busy while it waits for the disk. */
  readonly #read: Statements;
  #usedBytes = 0;
  #closed: Promise<void> | undefined;

  private constructor(parts: {
    options: SqliteStoreOptions;
    lock: DataLock;
    writer: Database;
    reader: Database;
    files: ObjectFiles;
    write: Statements;
    read: Statements;
  }) {
    this.#options = parts.options;
    this.#lock = parts.lock;
    this.#writer = parts.writer;
    this.#reader = parts.reader;
    this.#files = parts.files;
    this.#write = parts.write;
    this.#read = parts.read;
    this.#commits = new GroupCommit(parts.writer);
  }

  /** Rejects with {@link DataDirInUseError} while another server has the folder open. */
  static async open(options: SqliteStoreOptions): Promise<SqliteStore> {
    const { dataDir } = options;
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    const lock = await lockDataDir(dataDir);
    try {
      const path = join(dataDir, "queue.db");
      const writer = openDatabase(path);
      // FULL: a commit that was answered survives a power cut, not only the death of the process.
      await writer.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
      await migrate(writer, path);
      const reader = openDatabase(path);
      const [write, read] = [await prepareStatements(writer), await prepareStatements(reader)];
      const files = await ObjectFiles.open(join(dataDir, "objects"));
      const store = new SqliteStore({ options, lock, writer, reader, files, write, read });
      await files.sweep((key) => store.findObject(key) !== undefined);
      store.#usedBytes = read.usedBytes.get()?.total ?? 0;
      return store;
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  async accept(request: AcceptedRequest, ended?: { ending: Ending; answer: Answer }): Promise<void> {
    const json = JSON.stringify(request);
    const sizeBytes = Buffer.byteLength(json);
    await this.#makeRoom(sizeBytes);
    const body = ended === undefined ? undefined : await this.#placeBody(ended.answer.body);
    try {
      await this.#commit(() => {
        this.#write.accept.run(request.id, request.acceptedAtMs, json, sizeBytes);
        if (ended !== undefined && body !== undefined) this.#writeEnding(request.id, ended.ending, ended.answer, body);
      });
    } catch (error) {
      if (typeof body?.key === "string") await this.#files.remove([body.key]);
      throw error;
    }
    this.#usedBytes += sizeBytes + (body?.sizeBytes ?? 0);
  }

  async noteAttempt(id: string): Promise<void> {
    await this.#commit(() => this.#write.attempt.run(id));
  }

  async end(id: string, ending: Ending, answer: Answer): Promise<void> {
    const body = await this.#placeBody(answer.body);
    let isFirst = false;
    try {
      await this.#commit(() => {
        isFirst = this.#writeEnding(id, ending, answer, body);
      });
    } finally {
      if (isFirst) this.#usedBytes += body.sizeBytes;
      else if (body.key !== null) await this.#files.remove([body.key]);
    }
  }

  find(id: string): StoredRequest | undefined {
    const row = this.#read.find.get(id);
    return row === undefined ? undefined : toStored(row);
  }

  async answer(id: string): Promise<Answer | undefined> {
    const row = this.#read.answer.get(id);
    if (row === undefined) return undefined;
    const body = row.body ?? (row.body_key === null ? undefined : await bytesOf(this.#files.read(row.body_key)));
    return body === undefined
      ? undefined
      : { status: row.status, headers: JSON.parse(row.headers) as Record<string, string>, body: Buffer.from(body) };
  }

  async unfinished(): Promise<StoredRequest[]> {
    return (await this.#read.unfinished.all()).map(toStored);
  }

  async pendingWebhooks(): Promise<PendingWebhook[]> {
    const rows = await this.#read.pendingWebhooks.all();
    return rows.map((row) => ({
      id: row.id,
      url: row.url,
      attempts: row.webhook_attempts,
      dueAtMs: row.webhook_due_at,
    }));
  }

  async noteDelivery(id: string, attempts: number, dueAtMs: number | null): Promise<void> {
    await this.#commit(() => this.#write.delivery.run(attempts, dueAtMs, id));
  }

  async putObject(object: NewObject, content: Buffer | Readable, limitBytes?: number): Promise<void> {
    if (Buffer.isBuffer(content)) await this.#makeRoom(content.byteLength);
    const sizeBytes = await this.#filling(() => this.#files.write(object.key, content, limitBytes));
    try {
      if (!Buffer.isBuffer(content)) await this.#makeRoom(sizeBytes);
      await this.#commit(() => {
        const { key, kind, contentType, expiresAtMs } = object;
        this.#write.putObject.run(key, kind, contentType, sizeBytes, Date.now(), expiresAtMs);
      });
    } catch (error) {
      await this.#files.remove([object.key]);
      throw error;
    }
    this.#usedBytes += sizeBytes;
  }

  findObject(key: string): StoredObject | undefined {
    const row = this.#read.findObject.get(key);
    if (row === undefined) return undefined;
    return {
      key: row.key,
      kind: row.kind,
      contentType: row.content_type,
      sizeBytes: row.size,
      createdAtMs: row.created_at,
      expiresAtMs: row.expires_at,
    };
  }

  openObject(key: string): Readable {
    return this.#files.read(key);
  }

  async expire(nowMs: number): Promise<void> {
    const files = await this.#read.expiredFiles.all(nowMs);
    const requests = await this.#read.expiredRequests.all(nowMs);
    const bodies = requests.flatMap(({ body_key: key }) => (key === null ? [] : [key]));
    await this.#forget(
      [...files.map(({ key }) => key), ...bodies],
      requests.map(({ id }) => id),
    );
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await this.#commits.idle();
    // libsql keeps its files open until the statements are collected; what is in the log is put where it belongs now.
    await this.#writer.exec("PRAGMA wal_checkpoint(TRUNCATE)").catch(() => undefined);
    this.#reader.close();
    this.#writer.close();
    this.#lock.release();
  }

  /** Forgets what would expire next until `bytes` more fit. What has not ended is never touched. */
  async #makeRoom(bytes: number): Promise<void> {
    const { limitBytes } = this.#options;
    if (bytes > limitBytes) throw new LatentcastError("storage_full");
    while (this.#usedBytes + bytes > limitBytes) {
      const object = this.#read.nextObject.get();
      const request = this.#read.nextRequest.get();
      if (object === undefined && request === undefined) throw new LatentcastError("storage_full");
      const isObject =
        (object?.expires_at ?? Number.POSITIVE_INFINITY) <= (request?.expires_at ?? Number.POSITIVE_INFINITY);
      if (isObject && object !== undefined) await this.#forget([object.key], []);
      else if (request !== undefined)
        await this.#forget(request.body_key === null ? [] : [request.body_key], [request.id]);
    }
  }

  async #forget(keys: readonly string[], ids: readonly string[]): Promise<void> {
    if (keys.length === 0 && ids.length === 0) return;
    await this.#commit(() => {
      for (const key of keys) this.#write.removeObject.run(key);
      for (const id of ids) this.#write.removeRequest.run(id);
    });
    await this.#files.remove(keys);
    this.#usedBytes = this.#read.usedBytes.get()?.total ?? 0;
  }

  /** A file of its own becomes known with the ending that points to it; one that never does is swept at the next start. */
  async #placeBody(body: Buffer): Promise<PlacedBody> {
    const sizeBytes = body.byteLength;
    await this.#makeRoom(sizeBytes);
    if (sizeBytes <= MAX_INLINE_BYTES) return { inline: body, key: null, sizeBytes };
    const key = randomBytes(16).toString("hex");
    await this.#filling(() => this.#files.write(key, body));
    return { inline: null, key, sizeBytes };
  }

  /** False, and nothing written, when there is no such request that has not ended. */
  #writeEnding(id: string, ending: Ending, answer: Answer, body: PlacedBody): boolean {
    const expiresAtMs = ending.endedAtMs + this.#options.keepMs;
    const { changes } = this.#write.end.run(
      ending.endedAtMs,
      JSON.stringify(ending),
      answer.status,
      JSON.stringify(answer.headers),
      body.inline,
      body.key,
      body.inline?.byteLength ?? 0,
      expiresAtMs,
      id,
    );
    if (changes === 0) return false;
    if (body.key !== null) {
      this.#write.putObject.run(body.key, "answer", "application/json", body.sizeBytes, ending.endedAtMs, expiresAtMs);
    }
    return true;
  }

  #commit(apply: () => void): Promise<void> {
    return this.#filling(() => this.#commits.write(apply));
  }

  /** A disk that is full has one name here, whoever noticed it. */
  async #filling<Value>(work: () => Promise<Value>): Promise<Value> {
    try {
      return await work();
    } catch (error) {
      if (isDiskFull(error)) throw new LatentcastError("storage_full", { cause: error });
      throw error;
    }
  }
}

function isDiskFull(error: unknown): boolean {
  if (sqliteCode(error) === "SQLITE_FULL" || sqliteCode(error)?.startsWith("SQLITE_IOERR") === true) return true;
  return error instanceof Error && "code" in error && (error.code === "ENOSPC" || error.code === "EDQUOT");
}

async function bytesOf(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}
