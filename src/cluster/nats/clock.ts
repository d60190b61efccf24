/** The servers' time. Machines of a fleet need no common clock of their own: what expires, expires by this one. */
import type { NatsConnection } from "@nats-io/transport-node";
import { z } from "zod";

const ANSWER_MS = 2_000;
const told = z.object({ server: z.object({ time: z.iso.datetime({ offset: true }) }) });

export class ServerClock {
  /** What is to be added to this process's monotonic clock. */
  #aheadMs: number;

  private constructor(aheadMs: number) {
    this.#aheadMs = aheadMs;
  }

  /** Falls back to this machine's clock where the server does not tell. */
  static async read(connection: NatsConnection): Promise<ServerClock> {
    return new ServerClock((await aheadOf(connection)) ?? Date.now() - performance.now());
  }

  now(): number {
    return Math.floor(this.#aheadMs + performance.now());
  }

  /** It goes forward only: nothing may come back from having expired. */
  async correct(connection: NatsConnection): Promise<void> {
    this.#aheadMs = Math.max(this.#aheadMs, (await aheadOf(connection)) ?? this.#aheadMs);
  }
}

async function aheadOf(connection: NatsConnection): Promise<number | undefined> {
  const askedAtMs = performance.now();
  try {
    const answer = told.parse((await connection.request("$SYS.REQ.USER.INFO", "", { timeout: ANSWER_MS })).json());
    return Date.parse(answer.server.time) - (askedAtMs + performance.now()) / 2;
  } catch {
    return undefined;
  }
}
