/** The stores of this machine in a folder of their own, with a clock that tests move. */
import { existsSync } from "node:fs";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStorage, type Storage } from "../../src/storage/open.ts";
import type { StoreOptions, StoreUnderTest } from "../contract/store-under-test.ts";

const KEEP_MS = 1_000;
/** Each commit waits for the disk, which no test here looks at: the death of a process leaves what was written. In memory they take a third. */
const PARENT = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

export interface SqliteStoreUnderTest extends StoreUnderTest {
  /** The folder of the process that is alive. */
  readonly dataDir: string;
  close(): Promise<void>;
}

export async function openSqliteStore({ limitBytes = 2 ** 30 }: StoreOptions = {}): Promise<SqliteStoreUnderTest> {
  const root = await mkdtemp(join(PARENT, "latentcast-store-"));
  let [lives, nowMs] = [0, 0];
  let dataDir = join(root, "0");
  const open = (): Promise<Storage> => openStorage({ dataDir, limitBytes, keepMs: KEEP_MS, monotonicMs: () => nowMs });
  let storage = await open();
  return {
    keepMs: KEEP_MS,
    get dataDir() {
      return dataDir;
    },
    get requests() {
      return storage.requests;
    },
    get objects() {
      return storage.objects;
    },
    advance: (ms) => {
      nowMs += ms;
    },
    restart: async (how) => {
      if (how === "crash") {
        // What the disk holds at this moment is what the next process finds.
        lives += 1;
        const image = join(root, String(lives));
        await cp(dataDir, image, { recursive: true });
        await storage.close();
        dataDir = image;
      } else {
        await storage.close();
      }
      storage = await open();
    },
    close: () => storage.close(),
    [Symbol.asyncDispose]: async () => {
      await storage.close();
      await rm(root, { recursive: true, force: true });
    },
  };
}
