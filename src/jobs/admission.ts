/** A place among the jobs that wait, promised before the job exists. */

export class Admission implements Disposable {
  #isHeld = true;
  readonly #giveUp: () => void;

  /** @param giveUp Frees the place. */
  constructor(giveUp: () => void) {
    this.#giveUp = giveUp;
  }

  /** The job takes its place. Throws for an admission that has been used or released. */
  consume(): void {
    if (!this.#isHeld) throw new TypeError("this admission has been used or released");
    this.release();
  }

  /** Frees the place. Does nothing after {@link consume}. */
  release(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#giveUp();
  }

  [Symbol.dispose](): void {
    this.release();
  }
}
