/** Runs asynchronous tasks one after the other. A ZeroMQ socket throws EBUSY when a send starts before the last one ended. */
export class SerialQueue {
  #tail: Promise<unknown> = Promise.resolve();
  #unfinished = 0;
  #closed: Error | undefined;

  /** Resolves or rejects with the task's own outcome; rejects at once after {@link close}. A task that none is ahead of begins at once. */
  run<Value>(task: () => Promise<Value>): Promise<Value> {
    const begin = async (): Promise<Value> => {
      if (this.#closed !== undefined) throw this.#closed;
      return task();
    };
    const next = this.#unfinished === 0 ? begin() : this.#tail.then(begin);
    this.#unfinished += 1;
    this.#tail = this.#settled(next);
    return next;
  }

  async #settled(task: Promise<unknown>): Promise<void> {
    await task.catch(() => undefined);
    this.#unfinished -= 1;
  }

  /** Tasks that have not begun fail with `reason`, as does every later one. */
  close(reason: Error): void {
    this.#closed ??= reason;
  }
}
