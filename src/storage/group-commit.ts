/**
 * Many small writes, few waits for the disk: writes that come while one commit is under way share the next one. A commit with fsync
 * takes 3 ms here and runs on another thread; the statements between BEGIN and COMMIT take microseconds on this one.
 */
import type { Database } from "./sqlite.ts";

interface Write {
  readonly apply: () => void;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class GroupCommit {
  readonly #db: Database;
  #waiting: Write[] = [];
  #working: Promise<void> | undefined;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Resolves when what `apply` wrote is on the disk; rejects when none of it is. `apply` may run more than once. */
  write(apply: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ apply, resolve, reject });
      this.#working ??= this.#work();
    });
  }

  /** Resolves when everything written so far has been written or refused. */
  async idle(): Promise<void> {
    await this.#working;
  }

  async #work(): Promise<void> {
    // Lets the callers of this turn join.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      const failure = await this.#commit(batch);
      if (failure === undefined) for (const { resolve } of batch) resolve();
      else await this.#commitSingly(batch, failure);
    }
    this.#working = undefined;
  }

  /** One that cannot be written must not take the others with it. */
  async #commitSingly(batch: readonly Write[], failure: unknown): Promise<void> {
    for (const write of batch) {
      const error = batch.length === 1 ? failure : await this.#commit([write]);
      if (error === undefined) write.resolve();
      else write.reject(error);
    }
  }

  async #commit(batch: readonly Write[]): Promise<unknown> {
    try {
      await this.#db.exec("BEGIN IMMEDIATE");
      for (const { apply } of batch) apply();
      await this.#db.exec("COMMIT");
      return undefined;
    } catch (error) {
      // Fails when SQLite has rolled back by itself, as it does on a full disk.
      await this.#db.exec("ROLLBACK").catch(() => undefined);
      return error ?? new Error("commit failed");
    }
  }
}
