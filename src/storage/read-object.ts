/** A stored object as a whole. */
import type { ObjectStore } from "./object-store.ts";

/** Undefined when there is none. It holds at most what one request may bring. */
export async function readObject(objects: ObjectStore, key: string): Promise<Buffer | undefined> {
  if ((await objects.find(key)) === undefined) return undefined;
  return Buffer.concat((await (await objects.open(key)).toArray()) as Buffer[]);
}
