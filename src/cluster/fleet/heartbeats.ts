/** Says once a second that this process lives, and at once when what it says has changed. */
import type { Bus, Header } from "../bus.ts";

export interface HeartbeatsOptions {
  readonly bus: Bus;
  readonly subject: string;
  readonly beat: () => Header;
}

const INTERVAL_MS = 1_000;
/** What changes in quick succession is said once. */
const GATHER_MS = 100;

export class Heartbeats {
  readonly #options: HeartbeatsOptions;
  #timer: NodeJS.Timeout | undefined;
  #soon: NodeJS.Timeout | undefined;

  constructor(options: HeartbeatsOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => this.#beat(), INTERVAL_MS);
    this.#beat();
  }

  /** What the next one says differs from the last. */
  changed(): void {
    if (this.#timer === undefined) return;
    this.#soon ??= setTimeout(() => this.#beat(), GATHER_MS);
  }

  /** Says a last one. */
  stop(): void {
    if (this.#timer === undefined) return;
    clearInterval(this.#timer);
    this.#beat();
    this.#timer = undefined;
  }

  #beat(): void {
    clearTimeout(this.#soon);
    this.#soon = undefined;
    const { bus, subject, beat } = this.#options;
    bus.publish(subject, beat());
  }
}
