/** The page's address names what the form says. What it cannot hold, this tab keeps for a reload. */
import { linkOf } from "./link.ts";
import { keepInTab, readFromTab, removeFromTab } from "./tab-storage.ts";
import type { FieldName, Values } from "./values.ts";

/** WebKit throws at the 101st `replaceState` within 30 seconds (older versions) or 10; this makes 60 within 30. */
const WRITE_INTERVAL_MS = 500;

const DRAFT_ENTRY = "latentcast.draft";

interface Draft {
  /** The address this belongs to: a link opened in the same tab is not overwritten by it. */
  readonly search: string;
  readonly values: Values;
}

export interface AddressHooks {
  readonly defaults: () => Values;
  /** Called with the fields that the address has no room for, after each time it was written. */
  readonly written: (leftOut: readonly FieldName[]) => void;
}

export class Address {
  readonly #hooks: AddressHooks;
  #waiting: Values | undefined;
  #newest: Values | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #writtenAt = Number.NEGATIVE_INFINITY;

  constructor(hooks: AddressHooks) {
    this.#hooks = hooks;
    // The address is out of date for half a second after a change, and what a reload opens is older still: the browser hears of a
    // new address a moment after the page has set it.
    addEventListener("pagehide", () => {
      if (this.#newest !== undefined) keepDraft(this.#newest);
    });
  }

  /** Names these values: at once, or within half a second when the last change was a moment ago. Never throws. */
  set(values: Values): void {
    this.#waiting = values;
    this.#newest = values;
    if (this.#timer !== undefined) return;
    const waitMs = this.#writtenAt + WRITE_INTERVAL_MS - performance.now();
    if (waitMs <= 0) this.#write();
    else this.#timer = setTimeout(() => this.#write(), waitMs);
  }

  #write(): void {
    this.#timer = undefined;
    const values = this.#waiting;
    if (values === undefined) return;
    this.#writtenAt = performance.now();
    const { query, leftOut } = linkOf(values, this.#hooks.defaults());
    try {
      history.replaceState(null, "", query === "" ? "./" : `?${query}`);
    } catch {
      // A browser with a lower limit. The draft holds the values; the next change tries again.
      keepDraft(values);
      return;
    }
    this.#waiting = undefined;
    if (leftOut.length > 0) keepDraft(values);
    else removeFromTab(DRAFT_ENTRY);
    this.#hooks.written(leftOut);
  }
}

/** What this tab had in its form before a reload or at this address, where the address alone does not say it. */
export function readDraft(): Values | undefined {
  // This page alone writes this entry.
  const draft = JSON.parse(readFromTab(DRAFT_ENTRY) ?? "null") as Draft | null;
  if (draft === null) return undefined;
  if (draft.search === location.search || isReload()) return draft.values;
  removeFromTab(DRAFT_ENTRY);
  return undefined;
}

function isReload(): boolean {
  return performance.getEntriesByType("navigation").some((entry) => "type" in entry && entry.type === "reload");
}

function keepDraft(values: Values): void {
  keepInTab(DRAFT_ENTRY, JSON.stringify({ search: location.search, values } satisfies Draft));
}
