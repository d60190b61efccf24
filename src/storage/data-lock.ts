/**
 * One server for one data folder. The lock is SQLite's own on a file of its own: the kernel takes it back when the process dies,
 * however it dies, so no process number has to be trusted.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ConfigError } from "../config.ts";
import { openDatabase, sqliteCode } from "./sqlite.ts";

/** Another server uses the folder. */
export class DataDirInUseError extends ConfigError {}

export interface DataLock {
  release(): void;
}

export async function lockDataDir(dataDir: string): Promise<DataLock> {
  const db = openDatabase(join(dataDir, "lock.db"));
  const holder = join(dataDir, "lock.pid");
  try {
    await db.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    db.close();
    if (sqliteCode(error)?.startsWith("SQLITE_BUSY") !== true) throw error;
    const pid = await readFile(holder, "utf8").catch(() => "unknown");
    throw new DataDirInUseError(
      `${dataDir} is in use by another server (process ${pid.trim()}): stop it, or set LATENTCAST_DATA_DIR to another folder.`,
      { cause: error },
    );
  }
  // For the message above only.
  await writeFile(holder, `${process.pid}\n`).catch(() => undefined);
  return { release: () => db.close() };
}
