import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ConfigError } from "../../../src/config.ts";
import { openStorage, type Storage } from "../../../src/storage/open.ts";
import { openDatabase } from "../../../src/storage/sqlite.ts";
import { unfinishedIds } from "../../contract/store-under-test.ts";
import { writeVersion1 } from "../../support/store-version-1.ts";

let root: string;
let dataDir: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "latentcast-store-"));
  dataDir = join(root, "data");
  await mkdir(dataDir);
});
afterEach(() => rm(root, { recursive: true, force: true }));

const open = (): Promise<Storage> => openStorage({ dataDir, limitBytes: 2 ** 30, keepMs: 3_600_000 });

async function refusal(): Promise<Error> {
  return open().then(
    () => expect.unreachable("it opened"),
    (error: Error) => error,
  );
}

describe("a store of version 1", () => {
  it("opens with its unfinished requests, its results and its files", async () => {
    const { waiting, refused, ended, file } = await writeVersion1(dataDir);
    const storage = await open();
    const { requests, objects } = storage;
    expect(await unfinishedIds(requests)).toEqual([waiting.id]);
    expect(await requests.find(waiting.id)).toMatchObject({
      attempts: 1,
      isHeld: false,
      request: { ...waiting, owner: null, input: { prompt: "x", seed: 7, num_images: 2 } },
    });
    expect(await requests.find(ended.id)).toMatchObject({ result: { error: null, inferenceMs: 12 } });
    expect(await requests.ended(ended.id)).toMatchObject({ result: { error: null }, body: ended.body });
    expect(await requests.ended(refused.id)).toMatchObject({
      result: { error: { code: "invalid_request", message: refused.message, fields: refused.fields } },
      body: Buffer.alloc(0),
    });
    expect(await requests.ended(refused.cancelledId)).toMatchObject({
      result: { error: { code: "cancelled", fields: [] } },
    });
    expect(await requests.nextWebhook(new AbortController().signal)).toMatchObject({ id: ended.id, attempts: 2 });
    expect(await objects.find(file.key)).toMatchObject({ sizeBytes: file.bytes.byteLength });
    expect(Buffer.concat(await (await objects.open(file.key)).toArray())).toEqual(file.bytes);
    await storage.close();
  });

  it("is brought up to date once", async () => {
    const { waiting } = await writeVersion1(dataDir);
    for (let start = 0; start < 2; start += 1) {
      const storage = await open();
      expect(await unfinishedIds(storage.requests)).toEqual([waiting.id]);
      await storage.close();
    }
  });
});

describe("a store that cannot be opened", () => {
  it("by a newer version is named, and left as it was", async () => {
    await open().then((storage) => storage.close());
    const path = join(dataDir, "queue.db");
    const db = openDatabase(path);
    await db.exec("PRAGMA user_version = 999");
    db.close();
    const before = await readFile(path);
    const error = await refusal();
    expect(error).toBeInstanceOf(ConfigError);
    expect(error.message).toMatch(/newer.*999/);
    expect((await readFile(path)).equals(before)).toBe(true);
  });

  it.each([
    ["is not a database", Buffer.alloc(8_192, "x")],
    ["is cut off", Buffer.from("SQLite format 3\0")],
  ])("because it %s is named in one line, and left as it was", async (_, bytes) => {
    const path = join(dataDir, "queue.db");
    await writeFile(path, bytes);
    const error = await refusal();
    expect(error).toBeInstanceOf(ConfigError);
    expect(error.message).toContain(path);
    expect(error.message).not.toContain("\n");
    expect((await readFile(path)).equals(bytes)).toBe(true);
  });

  it("because it is another program's database is named", async () => {
    const db = openDatabase(join(dataDir, "queue.db"));
    await db.exec("CREATE TABLE requests (id INTEGER)");
    db.close();
    expect(await refusal()).toBeInstanceOf(ConfigError);
  });

  it("because its folder is a file names the setting", async () => {
    await rm(dataDir, { recursive: true });
    await writeFile(dataDir, "");
    const error = await refusal();
    expect(error).toBeInstanceOf(ConfigError);
    expect(error.message).toContain("LATENTCAST_DATA_DIR");
  });

  it("because nothing can be made in its folder names the setting", async () => {
    // A folder where the lock has to be a file stands for a folder without permission, which root never meets.
    await mkdir(join(dataDir, "lock.db"));
    expect((await refusal()).message).toContain("LATENTCAST_DATA_DIR");
  });
});
