/** Every statement on the tables of the store. Times are those of the store's clock, but for `accepted_at`, `ended_at`, `created_at`. */
import type { Database, Statement } from "./sqlite.ts";

export interface RequestRow {
  readonly request: string;
  readonly attempts: number;
  readonly result: string | null;
  readonly holder: string | null;
  readonly lease_until: number | null;
}

export interface ClaimRow {
  readonly attempts: number;
  readonly revision: number;
  readonly ended_at: number | null;
}

interface EndedRow {
  readonly request: string;
  readonly result: string;
  readonly body: Buffer | null;
  readonly body_key: string | null;
}

interface WebhookRow {
  readonly id: string;
  readonly url: string;
  readonly webhook_attempts: number;
  readonly webhook_due_at: number;
}

export interface ObjectRow {
  readonly key: string;
  readonly content_type: string;
  readonly size: number;
  readonly created_at: number;
  readonly expires_at: number;
}

interface ExpiringFile {
  readonly key: string;
  readonly expires_at: number;
}

interface ExpiringRequest {
  readonly id: string;
  readonly body_key: string | null;
  readonly expires_at: number;
}

export interface Statements {
  readonly accept: Statement<never>;
  readonly claim: Statement<never>;
  readonly renew: Statement<never>;
  readonly release: Statement<never>;
  readonly releaseAll: Statement<never>;
  readonly end: Statement<never>;
  readonly settle: Statement<never>;
  readonly putObject: Statement<never>;
  readonly removeObject: Statement<never>;
  readonly removeRequest: Statement<never>;
  readonly setClock: Statement<never>;
  readonly find: Statement<RequestRow>;
  readonly findClaim: Statement<ClaimRow>;
  readonly ended: Statement<EndedRow>;
  readonly unfinished: Statement<{ readonly id: string }>;
  readonly dueWebhooks: Statement<WebhookRow>;
  readonly findFile: Statement<ObjectRow>;
  readonly hasObject: Statement<{ readonly key: string }>;
  readonly expiredFiles: Statement<ExpiringFile>;
  readonly expiredRequests: Statement<ExpiringRequest>;
  readonly nextFile: Statement<ExpiringFile>;
  readonly nextRequest: Statement<ExpiringRequest>;
  readonly usedBytes: Statement<{ readonly total: number }>;
  readonly clock: Statement<{ readonly at: number }>;
}

/** The file of a response goes when its request goes; a request stays while its webhook is still to be delivered. */
const EXPENDABLE_REQUEST = "ended_at IS NOT NULL AND webhook_due_at IS NULL";

export async function prepareStatements(db: Database): Promise<Statements> {
  return {
    accept: await db.prepare("INSERT INTO requests (id, accepted_at, request, size) VALUES (?, ?, ?, ?)"),
    claim: await db.prepare(
      `UPDATE requests SET holder = ?, lease_until = ?, attempts = attempts + 1, revision = revision + 1
       WHERE id = ? AND ended_at IS NULL AND (holder IS NULL OR lease_until <= ? OR holder = ?)`,
    ),
    renew: await db.prepare(
      `UPDATE requests SET lease_until = ?, revision = revision + 1
       WHERE id = ? AND holder = ? AND revision = ? AND ended_at IS NULL`,
    ),
    release: await db.prepare(
      `UPDATE requests SET holder = NULL, lease_until = NULL, attempts = attempts - 1, revision = revision + 1
       WHERE id = ? AND holder = ? AND revision = ? AND ended_at IS NULL`,
    ),
    releaseAll: await db.prepare("UPDATE requests SET holder = NULL, lease_until = NULL WHERE holder IS NOT NULL"),
    // Once only: an end that is there is never replaced. A null revision stands for any holder.
    end: await db.prepare(
      `UPDATE requests SET ended_at = ?, result = ?, body = ?, body_key = ?, size = size + ?, expires_at = ?,
         holder = NULL, lease_until = NULL, revision = revision + 1,
         webhook_due_at = CASE WHEN json_extract(request, '$.webhookUrl') IS NULL THEN NULL ELSE 0 END
       WHERE id = ? AND ended_at IS NULL AND revision = coalesce(?, revision)`,
    ),
    settle: await db.prepare("UPDATE requests SET webhook_attempts = ?, webhook_due_at = ? WHERE id = ?"),
    putObject: await db.prepare(
      "INSERT INTO objects (key, kind, content_type, size, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)",
    ),
    removeObject: await db.prepare("DELETE FROM objects WHERE key = ?"),
    removeRequest: await db.prepare("DELETE FROM requests WHERE id = ?"),
    setClock: await db.prepare(
      "INSERT INTO clock (id, at) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET at = excluded.at",
    ),
    find: await db.prepare("SELECT request, attempts, result, holder, lease_until FROM requests WHERE id = ?"),
    findClaim: await db.prepare("SELECT attempts, revision, ended_at FROM requests WHERE id = ?"),
    ended: await db.prepare(
      "SELECT request, result, body, body_key FROM requests WHERE id = ? AND ended_at IS NOT NULL",
    ),
    unfinished: await db.prepare("SELECT id FROM requests WHERE ended_at IS NULL ORDER BY accepted_at, rowid"),
    dueWebhooks: await db.prepare(
      `SELECT id, json_extract(request, '$.webhookUrl') AS url, webhook_attempts, webhook_due_at FROM requests
       WHERE webhook_due_at IS NOT NULL ORDER BY webhook_due_at, rowid LIMIT ?`,
    ),
    findFile: await db.prepare(
      "SELECT key, content_type, size, created_at, expires_at FROM objects WHERE key = ? AND kind = 'file'",
    ),
    hasObject: await db.prepare("SELECT key FROM objects WHERE key = ?"),
    expiredFiles: await db.prepare("SELECT key, expires_at FROM objects WHERE kind = 'file' AND expires_at <= ?"),
    expiredRequests: await db.prepare(
      `SELECT id, body_key, expires_at FROM requests WHERE ${EXPENDABLE_REQUEST} AND expires_at <= ?`,
    ),
    nextFile: await db.prepare(
      "SELECT key, expires_at FROM objects WHERE kind = 'file' ORDER BY expires_at, rowid LIMIT 1",
    ),
    nextRequest: await db.prepare(
      `SELECT id, body_key, expires_at FROM requests WHERE ${EXPENDABLE_REQUEST} ORDER BY expires_at, rowid LIMIT 1`,
    ),
    usedBytes: await db.prepare(
      `SELECT (SELECT coalesce(sum(size), 0) FROM requests) + (SELECT coalesce(sum(size), 0) FROM objects) AS total`,
    ),
    clock: await db.prepare("SELECT at FROM clock"),
  };
}
