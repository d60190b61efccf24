/** What every implementation of `ObjectStore` has to do. */
import { Readable } from "node:stream";
import { expect, it } from "vitest";
import { Conflict } from "../../src/storage/request-store.ts";
import type { OpenStore, StoreUnderTest } from "./store-under-test.ts";

const object = { key: "a.png", contentType: "image/png" };

async function bytesOf({ objects }: StoreUnderTest, key: string): Promise<Buffer> {
  return Buffer.concat(await (await objects.open(key)).toArray());
}

export function objectStoreContract(open: OpenStore): void {
  it.each([
    ["a buffer", (bytes: Buffer) => bytes],
    ["a stream", (bytes: Buffer) => Readable.from([bytes.subarray(0, 10), bytes.subarray(10)])],
  ])("gives %s back as it came, also to the next process", async (_, content) => {
    await using store = await open();
    const bytes = Buffer.alloc(100_000, "latentcast");
    await store.objects.put(object, content(bytes));
    await store.restart("crash");
    expect(await store.objects.find("a.png")).toMatchObject({ ...object, sizeBytes: bytes.byteLength });
    expect(await bytesOf(store, "a.png")).toEqual(bytes);
    expect(await store.objects.find("b.png")).toBeUndefined();
  });

  it("stores an empty object", async () => {
    await using store = await open();
    await store.objects.put(object, Buffer.alloc(0));
    expect(await bytesOf(store, "a.png")).toEqual(Buffer.alloc(0));
  });

  it("never replaces an object: the second one under a key is refused unread", async () => {
    await using store = await open();
    await store.objects.put(object, Buffer.from("first"));
    const second = Readable.from([Buffer.from("second")]);
    await expect(store.objects.put(object, second)).rejects.toThrow(Conflict);
    expect(second.readableDidRead).toBe(false);
    expect(await bytesOf(store, "a.png")).toEqual(Buffer.from("first"));
  });

  it("has one winner when two write one key at once", async () => {
    await using store = await open();
    const outcomes = await Promise.allSettled(
      ["1", "2"].map((text) => store.objects.put(object, Readable.from([Buffer.from(text)]))),
    );
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
    expect((await bytesOf(store, "a.png")).toString()).toBe(outcomes[0]?.status === "fulfilled" ? "1" : "2");
  });

  it("stores nothing of content that is too large or breaks off, and the key stays free", async () => {
    await using store = await open();
    const large = Readable.from([Buffer.alloc(10), Buffer.alloc(10)]);
    await expect(store.objects.put(object, large, 15)).rejects.toMatchObject({ code: "payload_too_large" });
    const broken = new Readable({ read: () => undefined });
    broken.push(Buffer.alloc(10));
    setImmediate(() => broken.destroy(new Error("gone")));
    await expect(store.objects.put(object, broken)).rejects.toThrow("gone");
    expect(await store.objects.find("a.png")).toBeUndefined();
    await store.objects.put(object, Buffer.from("whole"));
    expect((await bytesOf(store, "a.png")).toString()).toBe("whole");
  });

  it("rejects with `storage_full` what would never fit", async () => {
    await using store = await open({ limitBytes: 2 ** 20 });
    await expect(store.objects.put(object, Buffer.alloc(2 ** 20 + 1))).rejects.toMatchObject({ code: "storage_full" });
  });

  it("removes the oldest to make room", async () => {
    await using store = await open({ limitBytes: 2 ** 20 });
    for (const key of ["1", "2", "3"]) {
      await store.objects.put({ ...object, key }, Buffer.alloc(400_000));
      store.advance(1);
    }
    const found = await Promise.all(["1", "2", "3"].map((key) => store.objects.find(key)));
    expect(found.map((stored) => stored?.key)).toEqual([undefined, "2", "3"]);
  });

  it("removes objects before their time, and their keys are free again", async () => {
    await using store = await open();
    for (const key of ["1", "2"]) await store.objects.put({ ...object, key }, Buffer.from(key));
    await store.objects.remove(["1", "never there"]);
    expect(await store.objects.find("1")).toBeUndefined();
    expect(await store.objects.find("2")).toBeDefined();
    await store.objects.put({ ...object, key: "1" }, Buffer.from("again"));
  });

  it("says how long an object is kept, and removes it then", async () => {
    await using store = await open();
    await store.objects.put(object, Buffer.from("x"));
    store.advance(store.keepMs - 10);
    expect(await store.objects.find("a.png")).toMatchObject({ remainingMs: 10 });
    store.advance(10);
    expect(await store.objects.find("a.png")).toBeUndefined();
    await store.objects.expire();
    await store.objects.put(object, Buffer.from("again"));
    expect((await bytesOf(store, "a.png")).toString()).toBe("again");
  });
}
