/** Whether streams have room for new requests: asked of the servers when it is needed, at most once a second, counted on in between. */
import { LatentcastError } from "../../errors.ts";
import type { Bus } from "../bus.ts";

interface Fill {
  bytes: number;
  readonly maxBytes: number;
}

/** New requests are accepted up to here: the end of one that is there is larger than what it replaces. */
const ACCEPT_BELOW = 0.8;
/** Others write too. What they can write in this time is little beside the fifth that is left. */
const FRESH_MS = 1_000;
/** Below this nobody waits for a newer answer: it takes 1 ms, and what others write meanwhile is little beside the three tenths that are left. */
const AMPLE_BELOW = 0.5;
/** An older answer is waited for all the same, so that servers that do not answer are noticed. */
const AMPLE_MS = 30_000;

export class StreamRoom {
  readonly #bus: Pick<Bus, "fill">;
  readonly #streams: readonly string[];
  #fills: ReadonlyMap<string, Fill> = new Map();
  #askedMs = Number.NEGATIVE_INFINITY;
  #asking: Promise<void> | undefined;

  constructor(bus: Pick<Bus, "fill">, streams: readonly string[]) {
    this.#bus = bus;
    this.#streams = streams;
  }

  /** Rejects with `storage_full` when a new request could keep one that is there from ending. */
  async check(): Promise<void> {
    const ageMs = performance.now() - this.#askedMs;
    if (ageMs >= FRESH_MS || this.#isAbove(ACCEPT_BELOW)) {
      const asked = this.#ask();
      // Nobody is refused for what was so a second ago.
      if (ageMs >= AMPLE_MS || this.#isAbove(AMPLE_BELOW)) await asked;
      else asked.catch(() => undefined);
    }
    if (this.#isAbove(ACCEPT_BELOW)) throw new LatentcastError("storage_full");
  }

  /** This process writes so much. What it replaces is not known here. */
  took(stream: string, bytes: number): void {
    const fill = this.#fills.get(stream);
    if (fill !== undefined) fill.bytes += bytes;
  }

  #isAbove(share: number): boolean {
    return [...this.#fills.values()].some(({ bytes, maxBytes }) => bytes >= share * maxBytes);
  }

  /** Whoever comes meanwhile waits for the same answer. */
  #ask(): Promise<void> {
    this.#asking ??= this.#read().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #read(): Promise<void> {
    const askedMs = performance.now();
    const fills = await Promise.all(
      this.#streams.map(async (stream): Promise<[string, Fill]> => {
        const { bytes, maxBytes } = await this.#bus.fill(stream);
        return [stream, { bytes, maxBytes }];
      }),
    );
    this.#fills = new Map(fills);
    this.#askedMs = askedMs;
  }
}
