/** What a stream holds, and what is written from then on, over breaks and elections. */
import { jetstream, DeliverPolicy, type ConsumerMessages, type JsMsg } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { pause } from "../../async/timer.ts";
import type { Stored } from "../bus.ts";
import { bytesOf, headerIn } from "./api.ts";

const RETRY_MS = 500;
/** How soon a silent leader is noticed, twice. */
const HEARTBEAT_MS = 1_000;

export interface WatchOptions {
  readonly signal: AbortSignal;
  readonly headersOnly: boolean;
}

export async function* watch(
  connection: NatsConnection,
  stream: string,
  filter: string,
  { signal, headersOnly }: WatchOptions,
): AsyncGenerator<Stored | "caught-up", void, undefined> {
  let after: number | undefined;
  while (!signal.aborted) {
    let messages: ConsumerMessages | undefined;
    const stop = (): void => messages?.stop();
    signal.addEventListener("abort", stop);
    try {
      const consumer = await jetstream(connection).consumers.get(stream, {
        filter_subjects: filter,
        headers_only: headersOnly,
        ...(after === undefined
          ? { deliver_policy: DeliverPolicy.LastPerSubject }
          : { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: after + 1 }),
      });
      let isCaughtUp = (await consumer.info(true)).num_pending === 0;
      if (isCaughtUp) yield "caught-up";
      messages = await consumer.consume({ max_messages: 500, expires: 4 * HEARTBEAT_MS, idle_heartbeat: HEARTBEAT_MS });
      if (signal.aborted) return;
      for await (const message of messages) {
        after = message.seq;
        yield toStored(message);
        if (isCaughtUp || message.info.pending > 0) continue;
        isCaughtUp = true;
        yield "caught-up";
      }
    } catch {
      // Anything may be the reason while servers come and go; a stream that does not exist is refused by every other call.
      if (connection.isClosed()) return;
      await pause(RETRY_MS, signal);
    } finally {
      signal.removeEventListener("abort", stop);
      messages?.stop();
    }
  }
}

function toStored(message: JsMsg): Stored {
  return {
    subject: message.subject,
    sequence: message.seq,
    storedAtMs: message.time.getTime(),
    header: headerIn(message.headers),
    payload: bytesOf(message.data),
  };
}
