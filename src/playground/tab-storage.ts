/** What this tab keeps until it is closed. A browser that allows no storage forgets it with the page. */

const inMemory = new Map<string, string>();

export function keepInTab(name: string, value: string): void {
  inMemory.set(name, value);
  withStorage((storage) => storage.setItem(name, value));
}

export function removeFromTab(name: string): void {
  inMemory.delete(name);
  withStorage((storage) => storage.removeItem(name));
}

export function readFromTab(name: string): string | undefined {
  return inMemory.get(name) ?? withStorage((storage) => storage.getItem(name)) ?? undefined;
}

/** With cookies blocked the mere mention of `sessionStorage` throws. */
function withStorage<Result>(act: (storage: Storage) => Result): Result | undefined {
  try {
    return act(sessionStorage);
  } catch {
    return undefined;
  }
}
