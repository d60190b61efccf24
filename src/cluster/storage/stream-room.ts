/** Whether streams have room for new requests: asked of the servers once a second, counted on in between. */
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
    // Nobody is refused for what was so a second ago.
    if (performance.now() - this.#askedMs >= FRESH_MS || this.#isFull) await this.#ask();
    if (this.#isFull) throw new LatentcastError("storage_full");
  }

  /** This process writes so much. What it replaces is not known here. */
  took(stream: string, bytes: number): void {
    const fill = this.#fills.get(stream);
    if (fill !== undefined) fill.bytes += bytes;
  }

  get #isFull(): boolean {
    return [...this.#fills.values()].some(({ bytes, maxBytes }) => bytes >= ACCEPT_BELOW * maxBytes);
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
