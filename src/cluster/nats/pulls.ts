/** Messages of work queues, one at a time: short pulls of our own, since those of a dead leader are never answered. */
import { createInbox, type Msg, type NatsConnection } from "@nats-io/transport-node";
import { z } from "zod";
import { deferred } from "../../async/deferred.ts";
import type { ConsumerName, Delivery, Pending } from "../bus.ts";
import { bytesOf, headerIn, type JetStreamApi } from "./api.ts";

export const PRIORITY_GROUP = "g";
/** What an answer may take on its way beyond the time that was asked for. */
const GRACE_MS = 1_000;
const NANOSECONDS = 1_000_000;
const ACK = Buffer.from("+ACK");

const info = z.object({ num_pending: z.number(), num_ack_pending: z.number(), num_waiting: z.number().default(0) });

export class Pulls {
  readonly #connection: NatsConnection;
  readonly #api: JetStreamApi;
  readonly #inboxPrefix: string;
  readonly #waiting = new Set<() => void>();

  constructor(connection: NatsConnection, api: JetStreamApi, inboxPrefix: string) {
    this.#connection = connection;
    this.#api = api;
    this.#inboxPrefix = inboxPrefix;
  }

  async pull(
    { stream, name, isRanked }: ConsumerName,
    options: { readonly expiresMs: number; readonly priority?: number; readonly signal?: AbortSignal },
  ): Promise<Delivery | undefined> {
    const { expiresMs, priority = 0, signal } = options;
    const rank = isRanked ? { group: PRIORITY_GROUP, priority } : {};
    const asked = JSON.stringify({ batch: 1, expires: expiresMs * NANOSECONDS, ...rank });
    const { promise, resolve } = deferred<Msg | undefined>();
    let isWaiting = true;
    const reply = createInbox(this.#inboxPrefix);
    const subscription = this.#connection.subscribe(reply, {
      callback: (error, message) => {
        if (error === null && isMessage(message) && !isWaiting) return this.nak(message.reply);
        resolve(error === null && isMessage(message) ? message : undefined);
      },
    });
    const stop = (): void => resolve(undefined);
    const timer = setTimeout(stop, expiresMs + GRACE_MS);
    signal?.addEventListener("abort", stop);
    this.#waiting.add(stop);
    this.#connection.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${name}`, asked, { reply });
    if (signal?.aborted === true) stop();
    const message = await promise;
    isWaiting = false;
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
    this.#waiting.delete(stop);
    // A message may still be on its way: somebody else can have it at once, not after the whole lease.
    if (message !== undefined) subscription.unsubscribe();
    else setTimeout(() => subscription.unsubscribe(), expiresMs + GRACE_MS).unref();
    return message === undefined ? undefined : this.#toDelivery(message);
  }

  /** Servers forget pulls of a connection that broke. */
  giveUp(): void {
    for (const stop of [...this.#waiting]) stop();
  }

  nak(ackSubject: string, delayMs = 0): void {
    const delay = delayMs === 0 ? "" : ` ${JSON.stringify({ delay: delayMs * NANOSECONDS })}`;
    this.#connection.publish(ackSubject, `-NAK${delay}`);
  }

  async pending({ stream, name }: ConsumerName): Promise<Pending> {
    const read = info.parse(await this.#api.call(`$JS.API.CONSUMER.INFO.${stream}.${name}`));
    return { waiting: read.num_pending, delivered: read.num_ack_pending, pulls: read.num_waiting };
  }

  #toDelivery({ subject, headers, data, reply = "" }: Msg): Delivery {
    return {
      subject,
      header: headerIn(headers),
      payload: bytesOf(data),
      ...readAckSubject(reply),
      ackSubject: reply,
      ack: async () => {
        await this.#api.repeat((timeoutMs) => this.#api.ask(reply, ACK, timeoutMs));
      },
      working: () => this.#connection.publish(reply, "+WPI"),
      nak: (delayMs) => this.nak(reply, delayMs),
    };
  }
}

/** Everything else is a status: nothing came, a leader changed, the consumer is gone. */
function isMessage(message: Msg): message is Msg & { readonly reply: string } {
  return message.reply?.startsWith("$JS.ACK.") === true;
}

/** `$JS.ACK.[domain.account.]stream.consumer.deliveries.sequence.delivery sequence.nanoseconds.pending[.…]` */
export function readAckSubject(subject: string): Pick<Delivery, "deliveries" | "sequence" | "storedAtMs"> {
  const parts = subject.split(".");
  const [deliveries, sequence, , nanoseconds] = parts.slice(parts.length > 10 ? 6 : 4).map(Number);
  return {
    deliveries: deliveries ?? 1,
    sequence: sequence ?? 0,
    storedAtMs: Math.floor((nanoseconds ?? 0) / NANOSECONDS),
  };
}
