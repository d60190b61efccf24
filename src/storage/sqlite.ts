/** SQLite with types; the only user of libsql. Statements run on this thread, `exec` (and so every commit) on another. */
import LibsqlDatabase from "libsql/promise";

export type SqlValue = string | number | Buffer | null;

export interface Statement<Row> {
  run(...values: SqlValue[]): { readonly changes: number };
  get(...values: SqlValue[]): Row | undefined;
  all(...values: SqlValue[]): Promise<Row[]>;
}

export interface Database {
  exec(sql: string): Promise<void>;
  prepare<Row = never>(sql: string): Promise<Statement<Row>>;
  close(): void;
}

export function openDatabase(path: string): Database {
  // The package's own declarations say `any`.
  return new LibsqlDatabase(path, {}) as Database;
}

/** SQLite's name for what went wrong, such as `SQLITE_BUSY`. */
export function sqliteCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
