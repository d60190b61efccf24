/**
 * The port to what carries a fleet: messages between processes, and streams that outlive them. src/cluster/nats/bus.ts is the
 * implementation, test/support/memory-bus.ts the same in memory; both pass test/contract/bus.ts. Names of streams, subjects and
 * consumers come from layout.ts.
 *
 * A message is a header, which is JSON, and raw bytes. The header is checked by whoever reads it.
 */

export type Header = Readonly<Record<string, unknown>>;

export interface BusMessage {
  readonly subject: string;
  /** Undefined when there was none, or none that is JSON. */
  readonly header: unknown;
  readonly payload: Buffer;
}

/** A message that may expect an answer. */
export interface Question extends BusMessage {
  /** Does nothing when nobody waits for an answer. */
  reply(header: Header, payload?: Buffer): void;
}

/** A message in a stream. */
export interface Stored extends BusMessage {
  /** The stream's own count. What {@link Bus.put} expects and returns. */
  readonly sequence: number;
  /** By the clock of the server that took it. */
  readonly storedAtMs: number;
}

/** A message of a work queue: this process has it until it acknowledges it, or keeps silent for the consumer's whole `ackWaitMs`. */
export interface Delivery extends Stored {
  /** How often it has been handed out, this time included. */
  readonly deliveries: number;
  /** Names this delivery to others, for {@link Bus.nakAt}. */
  readonly ackSubject: string;
  /**
   * Removes it from the queue for good, even when it has been handed to somebody else since: who is not sure of being the holder must
   * not call it. Resolves when the server has confirmed, and is repeated until then; rejects with {@link BusUnavailable}.
   */
  ack(): Promise<void>;
  /** Asks for another `ackWaitMs`. */
  working(): void;
  /** Gives it back, for others to take after the delay. */
  nak(delayMs?: number): void;
}

export interface Subscription {
  close(): void;
}

/** One record of a stream is replaced when the newest one under its subject is the expected one. */
export interface PutOptions {
  /** The sequence of the newest message under the subject; 0 when there must be none. Anything goes when absent. */
  readonly expected?: number;
  /**
   * Names this write: repeating it with the same id within two minutes writes nothing and returns the first one's sequence, also after
   * the message was removed. A refused write leaves its id free.
   */
  readonly id: string;
  /** Whole seconds count; at least one. Only in streams that allow it. */
  readonly ttlMs?: number;
}

export interface ConsumerName {
  readonly stream: string;
  readonly name: string;
  /** Of those who wait, the one with the lowest priority number gets the message; otherwise the one who waits longest. */
  readonly isRanked: boolean;
}

export interface Pending {
  /** Messages that nobody has. */
  readonly waiting: number;
  /** Messages that somebody has and has not acknowledged. */
  readonly delivered: number;
  /** Pulls that wait for a message. */
  readonly pulls: number;
}

export interface StreamFill {
  readonly messages: number;
  readonly bytes: number;
  /** Of the oldest message that is there; one more than the last where there is none. */
  readonly firstSequence: number;
  /** Infinity where there is no limit. */
  readonly maxBytes: number;
  /** Names of servers that should keep a copy, and that the leader has not heard for some seconds. */
  readonly awayServers: readonly string[];
}

export interface Bus {
  /** At most once, to whoever listens at this moment. Dropped while there is no connection. Order is kept between two processes. */
  publish(subject: string, header: Header, payload?: Buffer): void;
  /** @param subject May end in `>` or have `*` for single parts. */
  subscribe(subject: string, listener: (message: Question) => void): Subscription;
  /** The first answer. Rejects with {@link NoResponders} when nobody listens, with {@link BusTimeout} when nobody answers. */
  request(
    subject: string,
    header: Header,
    options: { readonly payload?: Buffer; readonly timeoutMs: number },
  ): Promise<BusMessage>;

  /**
   * Writes to a stream and returns the sequence; it is repeated with the same id, over elections, for 10 s. Rejects with
   * {@link WrongSequence} when another write came first, with {@link StreamFull}, with {@link BusUnavailable} when no answer came at
   * all: the write may have happened then.
   */
  put(stream: string, subject: string, header: Header, payload: Buffer, options: PutOptions): Promise<number>;
  /** The newest message under the subject as the stream's leader knows it. A decision must not rest on it, only a {@link put} decides. */
  get(stream: string, subject: string): Promise<Stored | undefined>;
  /** The same from the nearest server, which may be behind: for what never changes. Undefined may mean "not yet". */
  getNearby(stream: string, subject: string): Promise<Stored | undefined>;
  /** Removes everything under the subject, which may have wildcards. */
  purge(stream: string, subject: string): Promise<void>;
  /**
   * The newest message of each subject, then everything that is written; `"caught-up"` stands where the present was reached. Never ends
   * but by `signal`. After a break it goes on where it was, and may repeat itself.
   */
  watch(
    stream: string,
    filter: string,
    options: { readonly signal: AbortSignal; readonly headersOnly: boolean },
  ): AsyncIterable<Stored | "caught-up">;

  /**
   * Waits for one message of a work queue, for at most `expiresMs`. Undefined when none came, whatever the reason: the caller asks again.
   * @param options.priority 0 to 9, for a consumer that is ranked.
   */
  pull(
    consumer: ConsumerName,
    options: { readonly expiresMs: number; readonly priority?: number; readonly signal?: AbortSignal },
  ): Promise<Delivery | undefined>;
  /** Takes a delivery from whoever has it. It has no fence: a second call takes it from the next holder. */
  nakAt(ackSubject: string): void;
  pending(consumer: ConsumerName): Promise<Pending>;
  fill(stream: string): Promise<StreamFill>;

  /** Milliseconds to the server and back. Rejects with {@link BusTimeout} when there is no connection. */
  roundTripMs(): Promise<number>;
  /** Milliseconds since 1970 by the servers' clock, which all processes share. It never steps back. */
  now(): number;
  /** Bytes of a message, headers included. */
  readonly maxPayload: number;
  readonly isConnected: boolean;
  /** Resolves when `isConnected` has changed, or `signal` fires. */
  changed(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** Nobody listens at the subject. */
export class NoResponders extends Error {
  override readonly name = "NoResponders";
}

/** Somebody listens, and did not answer in time; or the connection broke. */
export class BusTimeout extends Error {
  override readonly name = "BusTimeout";
}

/** Another write to the subject came first. */
export class WrongSequence extends Error {
  override readonly name = "WrongSequence";
}

/** The stream has reached its limit, or the servers theirs. */
export class StreamFull extends Error {
  override readonly name = "StreamFull";
}

/** For whoever looks after the servers. */
export const NO_MAJORITY =
  "the NATS servers do not answer, or have no majority; more than half of them have to be up and to hear each other";

/** The servers did not answer, or have no majority. */
export class BusUnavailable extends Error {
  override readonly name = "BusUnavailable";
}

/** What was asked for does not exist, or is not allowed: repeating it is of no use. */
export class BusRefusal extends Error {
  override readonly name: string = "BusRefusal";
}

/** Who asks may not: its credentials are of another role, or of another pool. */
export class BusForbidden extends BusRefusal {
  override readonly name = "BusForbidden";
}
