/** How the servers between the machines are, asked when somebody looks: how far away they are, how full what they keep is. */
import type { Bus } from "../bus.ts";
import type { ServerReading, StreamReading } from "../observer.ts";

export interface ServerReadingsOptions {
  readonly bus: Pick<Bus, "isConnected" | "fill" | "roundTripMs">;
  /** Those that this process may ask about. */
  readonly streams: readonly string[];
}

/** A server that is frozen or away must not hold up a scrape. */
const PATIENCE_MS = 1_000;

export class ServerReadings {
  readonly #options: ServerReadingsOptions;
  #reading: Promise<ServerReading> | undefined;

  constructor(options: ServerReadingsOptions) {
    this.#options = options;
  }

  /** Who asks while another question is under way gets the same answer. Never rejects. */
  read(): Promise<ServerReading> {
    this.#reading ??= this.#ask().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #ask(): Promise<ServerReading> {
    const { bus, streams } = this.#options;
    if (!bus.isConnected) return { roundTripSeconds: undefined, streams: [] };
    const [roundTripMs, ...readings] = await Promise.all([
      inTime(bus.roundTripMs()),
      ...streams.map((stream) => inTime(this.#readStream(stream))),
    ]);
    return {
      roundTripSeconds: roundTripMs === undefined ? undefined : roundTripMs / 1_000,
      streams: readings.filter((reading) => reading !== undefined),
    };
  }

  async #readStream(stream: string): Promise<StreamReading> {
    const { bytes, maxBytes, awayServers } = await this.#options.bus.fill(stream);
    return { stream, bytes, maxBytes, awayServers: awayServers.length };
  }
}

/** Undefined when it fails, or takes too long. */
function inTime<Value>(answer: Promise<Value>): Promise<Value | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(undefined), PATIENCE_MS);
    void answer
      .catch(() => undefined)
      .then((value) => {
        clearTimeout(timer);
        resolve(value);
      });
  });
}
