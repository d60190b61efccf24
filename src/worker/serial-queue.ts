/** Runs asynchronous tasks one after the other. A ZeroMQ socket throws EBUSY when a send starts before the last one ended. */
export class SerialQueue {
  #tail: Promise<unknown> = Promise.resolve();
  #closed: Error | undefined;

  /** Resolves or rejects with the task's own outcome; rejects at once after {@link close}. */
  run<Value>(task: () => Promise<Value>): Promise<Value> {
    const next = this.#tail.then(() => {
      if (this.#closed !== undefined) throw this.#closed;
      return task();
    });
    this.#tail = next.catch(() => undefined);
    return next;
  }

  /** Tasks that have not begun fail with `reason`, as does every later one. */
  close(reason: Error): void {
    this.#closed ??= reason;
  }
}
