/** The tables of the store on disk, as the list of steps that made them. Entry n takes a store from version n to n + 1. */
import { ConfigError } from "../config.ts";
import { sqliteCode, type Database } from "./sqlite.ts";

const MIGRATIONS = [
  `CREATE TABLE requests (
    id TEXT PRIMARY KEY,
    accepted_at INTEGER NOT NULL,
    request TEXT NOT NULL,
    size INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    ended_at INTEGER,
    ending TEXT,
    status INTEGER,
    headers TEXT,
    body BLOB,
    body_key TEXT,
    expires_at INTEGER,
    webhook_attempts INTEGER NOT NULL DEFAULT 0,
    webhook_due_at INTEGER
  ) STRICT;
  CREATE INDEX unfinished ON requests (accepted_at) WHERE ended_at IS NULL;
  CREATE INDEX requests_by_expiry ON requests (expires_at) WHERE ended_at IS NOT NULL;
  CREATE INDEX webhooks ON requests (webhook_due_at) WHERE webhook_due_at IS NOT NULL;
  CREATE TABLE objects (
    key TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    content_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX objects_by_expiry ON objects (expires_at);`,
  // Claims, a clock of the store's own, versions in the records, and who a request belongs to.
  `ALTER TABLE requests RENAME COLUMN ending TO result;
  ALTER TABLE requests ADD COLUMN holder TEXT;
  ALTER TABLE requests ADD COLUMN lease_until INTEGER;
  ALTER TABLE requests ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
  UPDATE requests SET request = json_set(request, '$.version', 2, '$.owner', NULL);
  UPDATE requests SET result = json_set(result, '$.version', 2) WHERE result IS NOT NULL;
  UPDATE objects SET kind = 'response' WHERE kind = 'answer';
  CREATE TABLE clock (id INTEGER PRIMARY KEY CHECK (id = 1), at INTEGER NOT NULL) STRICT;`,
  // Errors are kept as they are, not as fal's clients read them; then a body is a result, and its status 200.
  `UPDATE requests SET request = json_set(request, '$.version', 3);
  UPDATE requests SET result = json_set(result, '$.version', 3) WHERE result IS NOT NULL;
  UPDATE requests
    SET result = json_set(result, '$.error.fields', json(CASE
      WHEN NOT json_valid(CAST(body AS TEXT)) THEN '[]'
      WHEN json_type(CAST(body AS TEXT), '$.detail') = 'array' THEN json_extract(CAST(body AS TEXT), '$.detail')
      ELSE '[]' END))
    WHERE json_type(result, '$.error') = 'object';
  UPDATE requests SET body = NULL WHERE json_type(result, '$.error') = 'object';
  ALTER TABLE requests DROP COLUMN status;
  ALTER TABLE requests DROP COLUMN headers;`,
] as const;

/** A store that this program does not open. It has been left as it was. */
export class StoreRefusedError extends ConfigError {}

/** Brings the file at `path` to the newest version, all of it or nothing. */
export async function migrate(db: Database, path: string): Promise<void> {
  const newest = MIGRATIONS.length;
  const version = await db.prepare<{ user_version: number }>("PRAGMA user_version");
  const found = version.get()?.user_version ?? 0;
  if (found > newest) {
    throw new StoreRefusedError(
      `${path} was written by a newer Latentcast (store version ${found}, this one knows ${newest}): use that one, or set LATENTCAST_DATA_DIR to another folder.`,
    );
  }
  if (found === newest) return;
  const steps = MIGRATIONS.slice(found).join("\n");
  try {
    await db.exec(`BEGIN IMMEDIATE; ${steps} PRAGMA user_version = ${newest}; COMMIT;`);
  } catch (error) {
    await db.exec("ROLLBACK").catch(() => undefined);
    throw error;
  }
}

/** What went wrong while a store was opened, as one sentence where the file itself is the reason. */
export function openingError(error: unknown, path: string): unknown {
  if (error instanceof ConfigError) return error;
  const code = sqliteCode(error) ?? "";
  if (!/^SQLITE_(NOTADB|CORRUPT|ERROR)/.test(code)) return error;
  return new StoreRefusedError(
    `${path} is damaged, or was not written by Latentcast: restore it, or set LATENTCAST_DATA_DIR to another folder.`,
    { cause: error },
  );
}
