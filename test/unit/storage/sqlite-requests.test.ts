import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { requestStoreContract } from "../../contract/request-store.ts";
import { ended, request } from "../../contract/store-under-test.ts";
import { openSqliteStore } from "../../support/sqlite-store.ts";

describe("the request store in SQLite", () => {
  requestStoreContract(openSqliteStore);

  it("has a file for each large response and for nothing else", async () => {
    await using store = await openSqliteStore();
    await store.requests.accept(request("1"), ended(1, 200_000));
    await store.requests.accept(request("2"), ended(2, 10));
    await store.requests.cancel("1", ended(3, 200_000));
    await expect(store.requests.accept(request("1"), ended(4, 200_000))).rejects.toThrow("already");
    const files = async (): Promise<string[]> => readdir(join(store.dataDir, "objects"));
    expect(await files()).toHaveLength(1);
    store.advance(store.keepMs);
    await store.requests.expire();
    expect(await files()).toEqual([]);
  });

  it("removes files that nothing knows when it opens", async () => {
    await using store = await openSqliteStore();
    await writeFile(join(store.dataDir, "objects", "stray.part"), "x");
    await store.restart("orderly");
    expect(await readdir(join(store.dataDir, "objects"))).toEqual([]);
  });

  it("frees what a dead process held at once, and counts its attempt", async () => {
    await using store = await openSqliteStore();
    await store.requests.accept(request("1"));
    await store.requests.claim("1", "a", 3_600_000);
    await store.restart("crash");
    expect(await store.requests.find("1")).toMatchObject({ attempts: 1, isHeld: false });
    expect(await store.requests.claim("1", "b", 1_000)).toMatchObject({ attempt: 2 });
  });
});
