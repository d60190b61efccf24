/** What a screen reader is told while pictures form: enough to follow, not every step. */
import { find } from "./dom.ts";

const QUARTER = 0.25;

export class Announcer {
  readonly #live = find("live", HTMLElement);
  #quarter = 0;
  #lastWord = "";

  begin(): void {
    this.#quarter = 0;
    this.#lastWord = "";
  }

  /** Says the status at each quarter of the way, and before the first step whenever it changes. */
  progress(status: string, progress: number): void {
    const quarter = Math.floor(progress / QUARTER);
    if (progress > 0 && quarter <= this.#quarter && !status.startsWith("Connection")) return;
    this.#quarter = quarter;
    this.say(status);
  }

  say(words: string): void {
    if (words === this.#lastWord) return;
    this.#lastWord = words;
    this.#live.textContent = words;
  }
}
