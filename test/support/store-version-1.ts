/** A data folder as commit 8e41ef5 left it, written with that version's own tables. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openDatabase } from "../../src/storage/sqlite.ts";

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
  PRAGMA user_version = 1;
`;

const HOUR_MS = 3_600_000;

function accepted(id: string, webhookUrl: string | null) {
  return {
    id,
    app: "local/sdxl",
    dialect: "latentcast",
    baseUrl: "http://127.0.0.1",
    input: {
      prompt: "x",
      negative_prompt: "blurry, low quality",
      num_inference_steps: 4,
      seed: 7,
      num_images: 2,
      output_format: "jpeg",
      sync_mode: true,
      preview: { every: 5, quality: 70, decoder: "tae", source: "x0" },
    },
    warnings: ['unknown field "a" was ignored'],
    traceparent: null,
    priority: "normal",
    acceptedAtMs: Date.now(),
    startByMs: null,
    webhookUrl,
  };
}

/** One request that waits, one that has ended with a large response and a webhook still to deliver, one file. */
export async function writeVersion1(dataDir: string) {
  const waiting = accepted("11111111-1111-4111-8111-111111111111", null);
  const done = accepted("22222222-2222-4222-8222-222222222222", "http://127.0.0.1:9/");
  const body = Buffer.from(JSON.stringify({ seed: 7, padding: "x".repeat(40_000) }));
  const file = { key: "file.png", bytes: Buffer.from("not really an image") };
  await mkdir(join(dataDir, "objects"), { recursive: true });
  await writeFile(join(dataDir, "objects", "body"), body);
  await writeFile(join(dataDir, "objects", file.key), file.bytes);
  const db = openDatabase(join(dataDir, "queue.db"));
  await db.exec("PRAGMA journal_mode = WAL");
  await db.exec(SCHEMA);
  const now = Date.now();
  const ending = JSON.stringify({ endedAtMs: now, error: null, inferenceMs: 12, logs: [] });
  const insert = await db.prepare(
    "INSERT INTO requests (id, accepted_at, request, size, attempts) VALUES (?, ?, ?, ?, 1)",
  );
  for (const request of [waiting, done]) insert.run(request.id, request.acceptedAtMs, JSON.stringify(request), 500);
  const end = await db.prepare(
    `UPDATE requests SET ended_at = ?, ending = ?, status = 200, headers = '{"a":"b"}', body_key = 'body', expires_at = ?,
       webhook_attempts = 2, webhook_due_at = 0 WHERE id = ?`,
  );
  end.run(now, ending, now + HOUR_MS, done.id);
  const put = await db.prepare("INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?)");
  put.run("body", "answer", "application/json", body.byteLength, now, now + HOUR_MS);
  put.run(file.key, "file", "image/png", file.bytes.byteLength, now, now + HOUR_MS);
  db.close();
  return { waiting, ended: { id: done.id, body }, file };
}
