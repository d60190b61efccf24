import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { describe, expect, it, vi } from "vitest";
import { openStorage } from "../../../src/storage/open.ts";
import { objectStoreContract } from "../../contract/object-store.ts";
import { openSqliteStore } from "../../support/sqlite-store.ts";

const object = { key: "a.png", contentType: "image/png" };

describe("the object store in SQLite", () => {
  objectStoreContract(openSqliteStore);

  it("leaves no file of an upload that is too large", async () => {
    await using store = await openSqliteStore();
    await expect(store.objects.put(object, Readable.from([Buffer.alloc(20)]), 15)).rejects.toMatchObject({
      code: "payload_too_large",
    });
    expect(await readdir(join(store.dataDir, "objects"))).toEqual([]);
  });

  it.each([
    ["a day ahead", 86_400_000],
    ["a day back", -86_400_000],
  ])("keeps an object as long as before when the wall clock jumps %s, also over a restart", async (_, jumpMs) => {
    await using store = await openSqliteStore();
    await store.objects.put(object, Buffer.from("x"));
    await store.close();
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + jumpMs });
    try {
      const { dataDir, keepMs } = store;
      const later = await openStorage({ dataDir, limitBytes: 2 ** 20, keepMs, monotonicMs: () => 0 });
      await later.objects.expire();
      expect(await later.objects.find("a.png")).toMatchObject({ remainingMs: keepMs });
      await later.close();
    } finally {
      vi.useRealTimers();
    }
  });
});
