/** What a gateway need not ask the servers: files that it has read, and whether there is room. */
import { createHash } from "node:crypto";
import { expect, it, vi } from "vitest";
import { FleetObjectStore } from "../../../src/cluster/storage/file-store.ts";
import { StreamRoom } from "../../../src/cluster/storage/stream-room.ts";
import { openMemoryStreams } from "../../support/memory-streams.ts";

const MIB = 2 ** 20;
/** More than a message may hold. */
const LARGE = Buffer.alloc(3 * MIB, "latentcast");
/** Megabytes take a minute to compare byte by byte. */
const digestOf = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

interface Opened extends AsyncDisposable {
  readonly objects: FleetObjectStore;
  advance(ms: number): void;
  /** Reads a file and says how often the servers were asked for it. */
  read(key: string): Promise<{ readonly digest: string | undefined; readonly asked: number }>;
}

async function openObjects(cacheBytes: number): Promise<Opened> {
  const fleet = await openMemoryStreams();
  const bus = await fleet.connect();
  let nowMs = Date.now();
  const objects = new FleetObjectStore({ bus, layout: fleet.layout, keepMs: 60_000, now: () => nowMs, cacheBytes });
  const ask = vi.spyOn(bus, "getNearby");
  return {
    objects,
    advance: (ms) => {
      nowMs += ms;
    },
    read: async (key) => {
      ask.mockClear();
      const found = await objects.find(key);
      const bytes = found && Buffer.concat(await (await objects.open(key)).toArray());
      return { digest: bytes && digestOf(bytes), asked: ask.mock.calls.length };
    },
    [Symbol.asyncDispose]: () => fleet[Symbol.asyncDispose](),
  };
}

const object = (key: string) => ({ key, contentType: "image/png" });

it.each([
  ["an empty file", Buffer.alloc(0), 1],
  ["a small file", Buffer.from("small"), 1],
  ["a file of several parts", LARGE, 6],
])("%s that was read is served again without a question", async (_, content, parts) => {
  await using store = await openObjects(16 * MIB);
  await store.objects.put(object("a"), content);
  expect(await store.read("a")).toEqual({ digest: digestOf(content), asked: parts });
  expect(await store.read("a")).toEqual({ digest: digestOf(content), asked: 0 });
});

it("without a cache every part is asked for each time", async () => {
  await using store = await openObjects(0);
  await store.objects.put(object("a"), Buffer.from("small"));
  for (let round = 0; round < 2; round += 1)
    expect(await store.read("a")).toEqual({ digest: digestOf(Buffer.from("small")), asked: 2 });
});

it("files that were read least recently give way, and a file of more than a quarter is not kept", async () => {
  await using store = await openObjects(4 * MIB);
  const keys = ["1", "2", "3", "4", "5"];
  for (const key of keys) await store.objects.put(object(key), Buffer.alloc(MIB - 4_096, key));
  for (const key of keys) await store.read(key);
  expect((await store.read("5")).asked).toBe(0);
  expect((await store.read("1")).asked).toBeGreaterThan(0);
  await store.objects.put(object("large"), LARGE);
  await store.read("large");
  const { asked, digest } = await store.read("large");
  expect(digest).toBe(digestOf(LARGE));
  // Its first part alone is kept.
  expect(asked).toBe(5);
});

it("a file is forgotten with its time, and when it is removed", async () => {
  await using store = await openObjects(MIB);
  for (const key of ["a", "b"]) {
    await store.objects.put(object(key), Buffer.from(key));
    await store.read(key);
  }
  await store.objects.remove(["a"]);
  expect((await store.read("a")).digest).toBeUndefined();
  store.advance(60_000);
  expect((await store.read("b")).digest).toBeUndefined();
  await store.objects.put(object("b"), Buffer.from("again"));
  expect((await store.read("b")).digest).toBe(digestOf(Buffer.from("again")));
});

it("whether there is room is asked once for many, and again before anybody is refused", async () => {
  let bytes = 0;
  let questions = 0;
  const fill = async () => {
    questions += 1;
    return { bytes, maxBytes: 1_000, messages: 0, firstSequence: 1, awayServers: [] };
  };
  const room = new StreamRoom({ fill }, ["state"]);
  await Promise.all(Array.from({ length: 50 }, () => room.check()));
  await room.check();
  expect(questions).toBe(1);
  // As much as this process has written itself is known at once.
  room.took("state", 900);
  bytes = 900;
  await expect(room.check()).rejects.toMatchObject({ code: "storage_full" });
  expect(questions).toBe(2);
  bytes = 100;
  await room.check();
  expect(questions).toBe(3);
});
