/** IndexedDB with promises. */

/** Rejects where the browser keeps nothing, as in some private windows. */
export async function openStore(
  database: string,
  store: string,
  options: IDBObjectStoreParameters,
): Promise<IDBDatabase> {
  const request = indexedDB.open(database, 1);
  request.addEventListener("upgradeneeded", () => {
    request.result.createObjectStore(store, options);
  });
  return settled(request);
}

export function settled<Result>(request: IDBRequest<Result>): Promise<Result> {
  return new Promise((resolve, reject) => {
    request.addEventListener("success", () => resolve(request.result));
    request.addEventListener("error", () => reject(request.error ?? new Error("IndexedDB failed")));
  });
}
