/** The model that a caller has set for all of its requests, in APIs where that is how one is chosen. */

/** The one that has set its model longest ago is forgotten first. */
const MAX_CALLERS = 10_000;

export class PreferredModels {
  readonly #byCaller = new Map<string, string>();

  of(caller: string): string | undefined {
    return this.#byCaller.get(caller);
  }

  set(caller: string, model: string): void {
    this.#byCaller.delete(caller);
    this.#byCaller.set(caller, model);
    const [oldest] = this.#byCaller.keys();
    if (this.#byCaller.size > MAX_CALLERS && oldest !== undefined) this.#byCaller.delete(oldest);
  }
}
