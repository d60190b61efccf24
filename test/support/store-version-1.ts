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

/** One request that waits, one that has ended with a large result and a webhook still to deliver, one refused, one cancelled, one file. */
export async function writeVersion1(dataDir: string) {
  const waiting = accepted("11111111-1111-4111-8111-111111111111", null);
  const done = accepted("22222222-2222-4222-8222-222222222222", "http://127.0.0.1:9/");
  const refused = { ...accepted("33333333-3333-4333-8333-333333333333", null), input: null };
  const cancelled = accepted("44444444-4444-4444-8444-444444444444", null);
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
  for (const request of [waiting, done, refused, cancelled])
    insert.run(request.id, request.acceptedAtMs, JSON.stringify(request), 500);
  const end = await db.prepare(
    `UPDATE requests SET ended_at = ?, ending = ?, status = 200, headers = '{"a":"b"}', body_key = 'body', expires_at = ?,
       webhook_attempts = 2, webhook_due_at = 0 WHERE id = ?`,
  );
  end.run(now, ending, now + HOUR_MS, done.id);
  const fail = await db.prepare(
    `UPDATE requests SET ended_at = ?, ending = ?, status = ?, headers = ?, body = ?, expires_at = ? WHERE id = ?`,
  );
  const endWith = (id: string, status: number, code: string, message: string, detail: unknown): void => {
    const error = JSON.stringify({ endedAtMs: now, error: { code, message }, inferenceMs: null, logs: [] });
    const response = Buffer.from(JSON.stringify({ detail, message, error_type: code }));
    fail.run(now, error, status, JSON.stringify({ "x-fal-error-type": code }), response, now + HOUR_MS, id);
  };
  const fields = [{ loc: ["body", "prompt"], msg: "Field required", type: "missing" }];
  const message = "prompt: Field required";
  endWith(refused.id, 422, "invalid_request", message, fields);
  endWith(cancelled.id, 499, "cancelled", "The request was cancelled.", "The request was cancelled.");
  const put = await db.prepare("INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?)");
  put.run("body", "answer", "application/json", body.byteLength, now, now + HOUR_MS);
  put.run(file.key, "file", "image/png", file.bytes.byteLength, now, now + HOUR_MS);
  db.close();
  return {
    waiting,
    refused: { id: refused.id, cancelledId: cancelled.id, message, fields },
    ended: { id: done.id, body },
    file,
  };
}
