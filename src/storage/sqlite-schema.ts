/** Tables and statements of the store on disk. */
import type { Database, Statement } from "./sqlite.ts";
import type { AcceptedRequest, Ending, ObjectKind, StoredRequest } from "./request-store.ts";

const SCHEMA_VERSION = 1;

const SCHEMA = `
  CREATE TABLE requests (
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
  CREATE INDEX objects_by_expiry ON objects (expires_at);
`;

export interface RequestRow {
  readonly request: string;
  readonly attempts: number;
  readonly ending: string | null;
}

interface AnswerRow {
  readonly status: number;
  readonly headers: string;
  readonly body: Buffer | null;
  readonly body_key: string | null;
}

interface WebhookRow {
  readonly id: string;
  readonly url: string;
  readonly webhook_attempts: number;
  readonly webhook_due_at: number;
}

interface ObjectRow {
  readonly key: string;
  readonly kind: ObjectKind;
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
  readonly attempt: Statement<never>;
  readonly end: Statement<never>;
  readonly delivery: Statement<never>;
  readonly putObject: Statement<never>;
  readonly removeObject: Statement<never>;
  readonly removeRequest: Statement<never>;
  readonly find: Statement<RequestRow>;
  readonly answer: Statement<AnswerRow>;
  readonly unfinished: Statement<RequestRow>;
  readonly pendingWebhooks: Statement<WebhookRow>;
  readonly findObject: Statement<ObjectRow>;
  readonly expiredFiles: Statement<ExpiringFile>;
  readonly expiredRequests: Statement<ExpiringRequest>;
  readonly nextObject: Statement<ExpiringFile>;
  readonly nextRequest: Statement<ExpiringRequest>;
  readonly usedBytes: Statement<{ readonly total: number }>;
}

/** An answer's file goes when its request goes; a request stays while its webhook is still to be delivered. */
const EXPENDABLE_REQUEST = "ended_at IS NOT NULL AND webhook_due_at IS NULL";

export async function prepareStatements(db: Database): Promise<Statements> {
  return {
    accept: await db.prepare("INSERT INTO requests (id, accepted_at, request, size) VALUES (?, ?, ?, ?)"),
    attempt: await db.prepare("UPDATE requests SET attempts = attempts + 1 WHERE id = ?"),
    // Once only: an ending that is there is never replaced. A webhook is due as soon as there is something to tell.
    end: await db.prepare(
      `UPDATE requests SET ended_at = ?, ending = ?, status = ?, headers = ?, body = ?, body_key = ?, size = size + ?, expires_at = ?,
         webhook_due_at = CASE WHEN json_extract(request, '$.webhookUrl') IS NULL THEN NULL ELSE 0 END
       WHERE id = ? AND ended_at IS NULL`,
    ),
    delivery: await db.prepare("UPDATE requests SET webhook_attempts = ?, webhook_due_at = ? WHERE id = ?"),
    putObject: await db.prepare(
      "INSERT INTO objects (key, kind, content_type, size, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)",
    ),
    removeObject: await db.prepare("DELETE FROM objects WHERE key = ?"),
    removeRequest: await db.prepare("DELETE FROM requests WHERE id = ?"),
    find: await db.prepare("SELECT request, attempts, ending FROM requests WHERE id = ?"),
    answer: await db.prepare(
      "SELECT status, headers, body, body_key FROM requests WHERE id = ? AND ended_at IS NOT NULL",
    ),
    unfinished: await db.prepare(
      "SELECT request, attempts, ending FROM requests WHERE ended_at IS NULL ORDER BY accepted_at, rowid",
    ),
    pendingWebhooks: await db.prepare(
      `SELECT id, json_extract(request, '$.webhookUrl') AS url, webhook_attempts, webhook_due_at FROM requests
       WHERE webhook_due_at IS NOT NULL ORDER BY webhook_due_at`,
    ),
    findObject: await db.prepare("SELECT * FROM objects WHERE key = ?"),
    expiredFiles: await db.prepare("SELECT key, expires_at FROM objects WHERE kind = 'file' AND expires_at <= ?"),
    expiredRequests: await db.prepare(
      `SELECT id, body_key, expires_at FROM requests WHERE ${EXPENDABLE_REQUEST} AND expires_at <= ?`,
    ),
    nextObject: await db.prepare(
      "SELECT key, expires_at FROM objects WHERE kind = 'file' ORDER BY expires_at, rowid LIMIT 1",
    ),
    nextRequest: await db.prepare(
      `SELECT id, body_key, expires_at FROM requests WHERE ${EXPENDABLE_REQUEST} ORDER BY expires_at, rowid LIMIT 1`,
    ),
    usedBytes: await db.prepare(
      `SELECT (SELECT coalesce(sum(size), 0) FROM requests) + (SELECT coalesce(sum(size), 0) FROM objects) AS total`,
    ),
  };
}

/** Makes the tables of a new file, and refuses one whose tables it does not know. */
export async function migrate(db: Database, path: string): Promise<void> {
  const version = await db.prepare<{ user_version: number }>("PRAGMA user_version");
  const found = version.get()?.user_version ?? 0;
  if (found > SCHEMA_VERSION) {
    throw new Error(
      `${path} was written by a newer Latentcast (store version ${found}, this one knows ${SCHEMA_VERSION})`,
    );
  }
  if (found < SCHEMA_VERSION) await db.exec(`BEGIN; ${SCHEMA} PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT;`);
}

export function toStored(row: RequestRow): StoredRequest {
  return {
    // Written by `accept` and `end` of the store, in this same version.
    request: JSON.parse(row.request) as AcceptedRequest,
    attempts: row.attempts,
    ending: row.ending === null ? null : (JSON.parse(row.ending) as Ending),
  };
}
