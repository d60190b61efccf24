/** What both stores share: one database and one folder of files, with a limit for their bytes together. */
import { join } from "node:path";
import { ConfigError } from "../config.ts";
import { LatentcastError } from "../errors.ts";
import { makeFolder } from "../make-folder.ts";
import { lockDataDir, type DataLock } from "./data-lock.ts";
import { GroupCommit } from "./group-commit.ts";
import { ObjectFiles } from "./object-files.ts";
import { openDatabase, sqliteCode, type Database } from "./sqlite.ts";
import { migrate, openingError } from "./sqlite-migrations.ts";
import { prepareStatements, type Statements } from "./sqlite-statements.ts";
import { StoreClock } from "./store-clock.ts";

export interface DiskOptions {
  readonly dataDir: string;
  /** Rows and files together; what expires first is forgotten early to stay below it. */
  readonly limitBytes: number;
  /** How long ended requests and files are kept. */
  readonly keepMs: number;
  /** Milliseconds of a monotonic clock. */
  readonly monotonicMs?: () => number;
}

interface Parts {
  readonly options: DiskOptions;
  readonly lock: DataLock;
  readonly writer: Database;
  readonly reader: Database;
  readonly files: ObjectFiles;
  readonly write: Statements;
  readonly read: Statements;
}

export class SqliteDisk {
  readonly files: ObjectFiles;
  readonly clock: StoreClock;
  readonly keepMs: number;
  readonly write: Statements;
  /** On a connection of their own: the writer's is busy while it waits for the disk. */
  readonly read: Statements;
  readonly #limitBytes: number;
  readonly #lock: DataLock;
  readonly #writer: Database;
  readonly #reader: Database;
  readonly #commits: GroupCommit;
  #usedBytes: number;
  #closed: Promise<void> | undefined;

  private constructor({ options, lock, writer, reader, files, write, read }: Parts) {
    this.files = files;
    this.keepMs = options.keepMs;
    this.write = write;
    this.read = read;
    this.clock = new StoreClock(read.clock.get()?.at ?? Date.now(), options.monotonicMs ?? (() => performance.now()));
    this.#limitBytes = options.limitBytes;
    this.#lock = lock;
    this.#writer = writer;
    this.#reader = reader;
    this.#commits = new GroupCommit(writer);
    this.#usedBytes = read.usedBytes.get()?.total ?? 0;
  }

  /** Rejects with a {@link ConfigError} when the folder cannot be used: in use, not writable, of a newer version, damaged. */
  static async open(options: DiskOptions): Promise<SqliteDisk> {
    const { dataDir } = options;
    const lock = await usable(dataDir, async () => {
      await makeFolder(dataDir, 0o700);
      return lockDataDir(dataDir);
    });
    const opened: Database[] = [];
    const path = join(dataDir, "queue.db");
    try {
      const connect = (): Database => {
        const db = openDatabase(path);
        opened.push(db);
        return db;
      };
      const files = await usable(dataDir, () => ObjectFiles.open(join(dataDir, "objects")));
      const writer = await usable(dataDir, async () => connect());
      // FULL: a commit that was answered survives a power cut, not only the death of the process.
      await writer.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
      await migrate(writer, path);
      const reader = connect();
      const [write, read] = [await prepareStatements(writer), await prepareStatements(reader)];
      const disk = new SqliteDisk({ options, lock, writer, reader, files, write, read });
      // Only this process has the folder, so earlier holders of requests are dead. Their attempts count.
      await disk.commit(() => write.releaseAll.run());
      await disk.keepTime();
      await files.sweep((key) => read.hasObject.get(key) !== undefined);
      return disk;
    } catch (error) {
      for (const db of opened) db.close();
      lock.release();
      throw openingError(error, path);
    }
  }

  /** Runs the statements of `apply` with those of others in one transaction. A full disk rejects with `storage_full`. */
  commit(apply: () => void): Promise<void> {
    return this.filling(() => this.#commits.write(apply));
  }

  /** Stores the clock's time, from which it continues after a crash. */
  keepTime(): Promise<void> {
    return this.commit(() => this.write.setClock.run(this.clock.now()));
  }

  /** Forgets what would expire next until `bytes` more fit. What has not ended is never touched. */
  async makeRoom(bytes: number): Promise<void> {
    if (bytes > this.#limitBytes) throw new LatentcastError("storage_full");
    while (this.#usedBytes + bytes > this.#limitBytes) {
      const file = this.read.nextFile.get();
      const request = this.read.nextRequest.get();
      if (file === undefined && request === undefined) throw new LatentcastError("storage_full");
      const isFile =
        (file?.expires_at ?? Number.POSITIVE_INFINITY) <= (request?.expires_at ?? Number.POSITIVE_INFINITY);
      if (isFile && file !== undefined) await this.forget([file.key], []);
      else if (request !== undefined)
        await this.forget(request.body_key === null ? [] : [request.body_key], [request.id]);
    }
  }

  /** To be called for everything that was written in the room that was made. */
  grow(bytes: number): void {
    this.#usedBytes += bytes;
  }

  async forget(keys: readonly string[], ids: readonly string[]): Promise<void> {
    if (keys.length === 0 && ids.length === 0) return;
    await this.commit(() => {
      for (const key of keys) this.write.removeObject.run(key);
      for (const id of ids) this.write.removeRequest.run(id);
    });
    await this.files.remove(keys);
    this.#usedBytes = this.read.usedBytes.get()?.total ?? 0;
  }

  /** SQLite and the file system report a full disk differently; here it is one error. */
  async filling<Value>(work: () => Promise<Value>): Promise<Value> {
    try {
      return await work();
    } catch (error) {
      if (isDiskFull(error)) throw new LatentcastError("storage_full", { cause: error });
      throw error;
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await this.keepTime().catch(() => undefined);
    await this.#commits.idle();
    // libsql keeps its files open until the statements are collected; what is in the log is put where it belongs now.
    await this.#writer.exec("PRAGMA wal_checkpoint(TRUNCATE)").catch(() => undefined);
    this.#reader.close();
    this.#writer.close();
    this.#lock.release();
  }
}

const UNUSABLE = new Set(["EACCES", "EPERM", "EROFS", "ENOTDIR", "EEXIST", "ENOENT", "ENAMETOOLONG"]);

/** Says which setting to change when the folder is not ours to write in. */
async function usable<Value>(dataDir: string, work: () => Promise<Value>): Promise<Value> {
  try {
    return await work();
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    const isRefused = UNUSABLE.has(code) || /^SQLITE_(CANTOPEN|READONLY|PERM)/.test(code) || isCannotOpen(error);
    if (!isRefused || error instanceof ConfigError) throw error;
    throw new ConfigError(
      `LATENTCAST_DATA_DIR: ${dataDir} cannot be written (${code || "no permission"}). Make it writable for this user, or name another folder.`,
      { cause: error },
    );
  }
}

/** libsql gives no code when it cannot open a file: `ConnectionFailed("Unable to open connection to local database …: 14")`. */
function isCannotOpen(error: unknown): boolean {
  return error instanceof Error && /ConnectionFailed/.test(error.message);
}

function isDiskFull(error: unknown): boolean {
  if (sqliteCode(error) === "SQLITE_FULL" || sqliteCode(error)?.startsWith("SQLITE_IOERR") === true) return true;
  return error instanceof Error && "code" in error && (error.code === "ENOSPC" || error.code === "EDQUOT");
}
