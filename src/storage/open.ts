/** The stores of this machine, opened together: they share a folder and its limit. */
import type { ObjectStore } from "./object-store.ts";
import type { RequestStore } from "./request-store.ts";
import { SqliteDisk, type DiskOptions } from "./sqlite-disk.ts";
import { SqliteObjectStore } from "./sqlite-objects.ts";
import { SqliteRequestStore } from "./sqlite-requests.ts";

export interface Storage {
  readonly requests: RequestStore;
  readonly objects: ObjectStore;
  close(): Promise<void>;
}

/** Rejects with a `ConfigError` when the folder cannot be used; it is then as it was. */
export async function openStorage(options: DiskOptions): Promise<Storage> {
  const disk = await SqliteDisk.open(options);
  return {
    requests: new SqliteRequestStore(disk),
    objects: new SqliteObjectStore(disk),
    close: () => disk.close(),
  };
}
