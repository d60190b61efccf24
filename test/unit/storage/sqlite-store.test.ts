import { cp, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SqliteStore } from "../../../src/storage/sqlite-store.ts";
import type { AcceptedRequest, Answer, Ending } from "../../../src/storage/request-store.ts";

let root: string;
let folders = 0;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "latentcast-store-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const KEEP_MS = 1_000;
const freshFolder = (): string => join(root, String((folders += 1)));
const open = (dataDir: string, limitBytes = 2 ** 30): Promise<SqliteStore> =>
  SqliteStore.open({ dataDir, limitBytes, keepMs: KEEP_MS });

function request(id: string, webhookUrl: string | null = null): AcceptedRequest {
  return {
    id,
    app: "local/sdxl",
    dialect: "latentcast",
    baseUrl: "http://x",
    input: null,
    warnings: [],
    traceparent: null,
    priority: "normal",
    acceptedAtMs: Number(id),
    startByMs: null,
    webhookUrl,
  };
}

function ended(endedAtMs: number, bodyBytes = 10): { ending: Ending; answer: Answer } {
  return {
    ending: { endedAtMs, error: null, inferenceMs: 5, logs: [] },
    answer: { status: 200, headers: { a: "b" }, body: Buffer.alloc(bodyBytes, String(endedAtMs)) },
  };
}

async function bytesOf(stream: Readable): Promise<Buffer> {
  return Buffer.concat(await stream.toArray());
}

const ids = fc.integer({ min: 0, max: 5 }).map(String);
const bodySizes = fc.constantFrom(10, 200_000);
const operations = fc.oneof(
  fc.record({ do: fc.constant("accept" as const), id: ids, webhook: fc.boolean() }),
  fc.record({ do: fc.constant("accept ended" as const), id: ids, size: bodySizes }),
  fc.record({ do: fc.constant("attempt" as const), id: ids }),
  fc.record({ do: fc.constant("end" as const), id: ids, size: bodySizes }),
  fc.record({ do: fc.constant("deliver" as const), id: ids, done: fc.boolean() }),
  fc.record({ do: fc.constant("put" as const), id: ids, size: fc.integer({ min: 0, max: 5_000 }) }),
  fc.record({ do: fc.constant("expire" as const) }),
  fc.record({ do: fc.constantFrom("reopen" as const, "crash" as const) }),
);

interface Known {
  attempts: number;
  body: Buffer | undefined;
  endedAtMs: number;
  webhook: { attempts: number; dueAtMs: number } | undefined;
  readonly url: string | null;
}

describe("the store", () => {
  it("agrees with a plain map after any history, crashes included", { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operations, { maxLength: 25 }), async (history) => {
        let folder = freshFolder();
        let store = await open(folder);
        const requests = new Map<string, Known>();
        const objects = new Map<string, { bytes: Buffer; expiresAtMs: number }>();
        let clock = 0;
        for (const operation of history) {
          clock += 400;
          switch (operation.do) {
            case "accept": {
              const { id, webhook } = operation;
              const accepting = store.accept(request(id, webhook ? "http://hook" : null));
              if (requests.has(id)) await expect(accepting).rejects.toThrow("UNIQUE");
              else {
                await accepting;
                requests.set(id, {
                  attempts: 0,
                  body: undefined,
                  endedAtMs: 0,
                  webhook: undefined,
                  url: webhook ? "http://hook" : null,
                });
              }
              break;
            }
            case "accept ended": {
              const { id, size } = operation;
              const end = ended(clock, size);
              const accepting = store.accept(request(id), end);
              if (requests.has(id)) await expect(accepting).rejects.toThrow("UNIQUE");
              else {
                await accepting;
                requests.set(id, {
                  attempts: 0,
                  body: end.answer.body,
                  endedAtMs: clock,
                  webhook: undefined,
                  url: null,
                });
              }
              break;
            }
            case "attempt": {
              await store.noteAttempt(operation.id);
              const known = requests.get(operation.id);
              if (known !== undefined) known.attempts += 1;
              break;
            }
            case "end": {
              const end = ended(clock, operation.size);
              await store.end(operation.id, end.ending, end.answer);
              const known = requests.get(operation.id);
              if (known === undefined || known.body !== undefined) break;
              known.body = end.answer.body;
              known.endedAtMs = clock;
              if (known.url !== null) known.webhook = { attempts: 0, dueAtMs: 0 };
              break;
            }
            case "deliver": {
              const known = requests.get(operation.id);
              if (known?.webhook === undefined) break;
              const attempts = known.webhook.attempts + 1;
              await store.noteDelivery(operation.id, attempts, operation.done ? null : clock);
              known.webhook = operation.done ? undefined : { attempts, dueAtMs: clock };
              break;
            }
            case "put": {
              const key = `object-${operation.id}`;
              if (objects.has(key)) break;
              const bytes = Buffer.alloc(operation.size, operation.id);
              const expiresAtMs = clock + KEEP_MS;
              await store.putObject({ key, kind: "file", contentType: "image/png", expiresAtMs }, bytes);
              objects.set(key, { bytes, expiresAtMs });
              break;
            }
            case "expire":
              await store.expire(clock);
              for (const [key, { expiresAtMs }] of objects) if (expiresAtMs <= clock) objects.delete(key);
              for (const [id, { body, endedAtMs, webhook }] of requests) {
                if (body !== undefined && webhook === undefined && endedAtMs + KEEP_MS <= clock) requests.delete(id);
              }
              break;
            case "reopen":
              await store.close();
              store = await open(folder);
              break;
            case "crash": {
              // What the disk holds at this moment is what the next server finds.
              const image = freshFolder();
              await cp(folder, image, { recursive: true });
              await store.close();
              folder = image;
              store = await open(folder);
              break;
            }
          }
        }
        for (const id of ["0", "1", "2", "3", "4", "5"]) {
          const known = requests.get(id);
          const found = store.find(id);
          expect(found?.attempts).toBe(known?.attempts);
          expect(found?.ending !== null && found?.ending !== undefined).toBe(known?.body !== undefined);
          const answer = await store.answer(id);
          expect(answer?.body.equals(known?.body ?? Buffer.alloc(0))).toBe(
            known?.body === undefined ? undefined : true,
          );
          if (answer !== undefined) expect(answer).toMatchObject({ status: 200, headers: { a: "b" } });
          const object = store.findObject(`object-${id}`);
          const bytes = objects.get(`object-${id}`)?.bytes;
          expect(object?.sizeBytes).toBe(bytes?.byteLength);
          if (bytes !== undefined) expect((await bytesOf(store.openObject(`object-${id}`))).equals(bytes)).toBe(true);
        }
        const waiting = [...requests].filter(([, { body }]) => body === undefined).map(([id]) => id);
        expect((await store.unfinished()).map((stored) => stored.request.id)).toEqual(waiting.toSorted());
        const hooks = [...requests].flatMap(([id, { webhook }]) =>
          webhook === undefined ? [] : [{ id, url: "http://hook", ...webhook }],
        );
        const byId = (a: { id: string }, b: { id: string }): number => a.id.localeCompare(b.id);
        expect((await store.pendingWebhooks()).toSorted(byId)).toEqual(hooks.toSorted(byId));
        // Every file belongs to something.
        const large = [...requests.values()].filter(({ body }) => (body?.byteLength ?? 0) > 100_000).length;
        await store.close();
        expect(await readdir(join(folder, "objects"))).toHaveLength(objects.size + large);
      }),
      { numRuns: 30 },
    );
  });

  it("keeps the first ending of a request", async () => {
    const store = await open(freshFolder());
    await store.accept(request("1"));
    const [first, second] = [ended(1), ended(2, 200_000)];
    await store.end("1", first.ending, first.answer);
    await store.end("1", second.ending, second.answer);
    expect((await store.answer("1"))?.body).toEqual(first.answer.body);
    await store.close();
  });

  it("forgets what would expire next to stay below its limit, and never what has not ended", async () => {
    const store = await open(freshFolder(), 2 ** 20);
    await store.accept(request("0"));
    for (let id = 1; id <= 20; id += 1) {
      const { ending, answer } = ended(id, 100_000);
      await store.accept(request(String(id)), { ending, answer });
    }
    expect(store.find("0")).toBeDefined();
    expect(store.find("1")).toBeUndefined();
    expect(store.find("20")).toBeDefined();
    const kept = Array.from({ length: 20 }, (_, index) => store.find(String(index + 1))).filter(
      (found) => found !== undefined,
    );
    expect(kept).toHaveLength(10);
    await store.close();
  });

  it("says that it is full when nothing may be forgotten, and takes requests again when there is room", async () => {
    const store = await open(freshFolder(), 2 ** 20);
    const file = { kind: "file", contentType: "x/y", expiresAtMs: 5 } as const;
    await expect(store.putObject({ ...file, key: "a" }, Buffer.alloc(2 ** 20 + 1))).rejects.toMatchObject({
      code: "storage_full",
    });
    const large = { ...request("1"), warnings: ["x".repeat(2 ** 20 - 2_000)] };
    await store.accept(large);
    await expect(store.accept({ ...request("2"), warnings: ["x".repeat(10_000)] })).rejects.toMatchObject({
      code: "storage_full",
      status: 507,
    });
    expect(store.find("2")).toBeUndefined();
    const { ending, answer } = ended(3);
    await store.end("1", ending, answer);
    await store.accept({ ...request("2"), warnings: ["x".repeat(10_000)] });
    expect(store.find("2")).toBeDefined();
    await store.close();
  });

  it("keeps nothing of an upload that is too large or breaks off", async () => {
    const folder = freshFolder();
    const store = await open(folder);
    const object = { key: "a", kind: "file", contentType: "x/y", expiresAtMs: 5 } as const;
    await expect(
      store.putObject(object, Readable.from([Buffer.alloc(10), Buffer.alloc(10)]), 15),
    ).rejects.toMatchObject({ code: "payload_too_large" });
    const broken = new Readable({ read: () => undefined });
    broken.push(Buffer.alloc(10));
    setImmediate(() => broken.destroy(new Error("gone")));
    await expect(store.putObject(object, broken)).rejects.toThrow("gone");
    expect(store.findObject("a")).toBeUndefined();
    expect(await readdir(join(folder, "objects"))).toEqual([]);
    await store.close();
  });

  it("removes files that nothing knows when it opens", async () => {
    const folder = freshFolder();
    const store = await open(folder);
    await store.close();
    await cp(join(folder, "queue.db"), join(folder, "objects", "stray.part"));
    const again = await open(folder);
    expect(await readdir(join(folder, "objects"))).toEqual([]);
    await again.close();
  });

  it("refuses to read what a newer version wrote", async () => {
    const folder = freshFolder();
    const store = await open(folder);
    await store.close();
    const { openDatabase } = await import("../../../src/storage/sqlite.ts");
    const db = openDatabase(join(folder, "queue.db"));
    await db.exec("PRAGMA user_version = 999");
    db.close();
    await expect(open(folder)).rejects.toThrow("newer");
  });

  it("puts many writes of one moment on the disk together", async () => {
    const store = await open(freshFolder());
    await Promise.all(Array.from({ length: 200 }, (_, index) => store.accept(request(String(index)))));
    expect(await store.unfinished()).toHaveLength(200);
    // One that cannot be written does not take the others with it.
    const outcomes = await Promise.allSettled([store.accept(request("5")), store.accept(request("1000"))]);
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "fulfilled"]);
    expect(store.find("1000")).toBeDefined();
    await store.close();
  });
});
