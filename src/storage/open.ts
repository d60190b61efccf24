/** The data folder, opened: store, files and the key that webhooks are signed with. */
import type { Config } from "../config.ts";
import { PictureFiles } from "./published-images.ts";
import { SigningKey } from "../requests/webhook-key.ts";
import { SqliteStore } from "./sqlite-store.ts";
import type { QueueStore } from "./request-store.ts";

export interface Storage {
  readonly store: QueueStore;
  readonly files: PictureFiles;
  readonly key: SigningKey;
}

/** Rejects with {@link DataDirInUseError} while another server has the folder open. */
export async function openStorage({ dataDir, resultTtlMs, storeLimitBytes }: Config): Promise<Storage> {
  const store = await SqliteStore.open({ dataDir, keepMs: resultTtlMs, limitBytes: storeLimitBytes });
  try {
    return { store, files: new PictureFiles(store, resultTtlMs), key: await SigningKey.open(dataDir) };
  } catch (error) {
    await store.close();
    throw error;
  }
}
