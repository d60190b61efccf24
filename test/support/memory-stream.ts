/** One stream in memory: records with conditions, and work queues with leases, as JetStream has them. */
import { EventEmitter } from "node:events";
import { StreamFull, WrongSequence, type Header, type PutOptions } from "../../src/cluster/bus.ts";
import type { ConsumerDefinition, StreamDefinition } from "../../src/cluster/layout.ts";

const DEDUPE_MS = 120_000;
/** What a message takes beside its texts and bytes. */
const OVERHEAD_BYTES = 30;

export interface MemoryMessage {
  readonly subject: string;
  readonly header: Header;
  readonly payload: Buffer;
  readonly sequence: number;
  readonly storedAtMs: number;
  readonly expiresAtMs: number;
  readonly sizeBytes: number;
}

export class MemoryStream {
  readonly definition: StreamDefinition;
  /** `message` for each that was written, `free` for one that can be pulled again. */
  readonly events = new EventEmitter().setMaxListeners(0);
  readonly #now: () => number;
  readonly #messages = new Map<number, MemoryMessage>();
  /** What the newest message of each subject has replaced. */
  readonly #replaced = new Map<string, MemoryMessage | undefined>();
  readonly #ids = new Map<string, { readonly sequence: number; readonly atMs: number }>();
  #lastSequence = 0;

  constructor(definition: StreamDefinition, now: () => number) {
    this.definition = definition;
    this.#now = now;
  }

  /** All that are there, oldest first. */
  get messages(): MemoryMessage[] {
    for (const [sequence, { expiresAtMs }] of this.#messages)
      if (expiresAtMs <= this.#now()) this.#messages.delete(sequence);
    return [...this.#messages.values()];
  }

  get bytes(): number {
    return this.messages.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  }

  get firstSequence(): number {
    return this.messages[0]?.sequence ?? this.#lastSequence + 1;
  }

  newest(subject: string): MemoryMessage | undefined {
    return this.messages.findLast((message) => message.subject === subject);
  }

  /** As a server knows it that has missed the last write. */
  newestBefore(subject: string): MemoryMessage | undefined {
    return this.#replaced.get(subject);
  }

  put(subject: string, header: Header, payload: Buffer, { expected, id, ttlMs }: PutOptions): number {
    const now = this.#now();
    const known = this.#ids.get(id);
    if (known !== undefined && now - known.atMs < DEDUPE_MS) return known.sequence;
    const replaced = this.newest(subject);
    if (expected !== undefined && expected !== (replaced?.sequence ?? 0))
      throw new WrongSequence(`${subject}: ${expected} was expected`);
    const sizeBytes = OVERHEAD_BYTES + subject.length + JSON.stringify(header).length + payload.byteLength;
    this.#makeRoom(sizeBytes - (this.definition.isOnePerSubject ? (replaced?.sizeBytes ?? 0) : 0));
    if (this.definition.isOnePerSubject && replaced !== undefined) this.remove(replaced.sequence);
    this.#lastSequence += 1;
    const ttl = ttlMs === undefined ? Number.POSITIVE_INFINITY : Math.max(1_000, ttlMs);
    const message = {
      subject,
      header: JSON.parse(JSON.stringify(header)) as Header,
      payload: Buffer.from(payload),
      sequence: this.#lastSequence,
      storedAtMs: now,
      expiresAtMs: now + ttl,
      sizeBytes,
    };
    this.#messages.set(message.sequence, message);
    this.#replaced.set(subject, replaced);
    this.#ids.set(id, { sequence: message.sequence, atMs: now });
    this.events.emit("message", message);
    return message.sequence;
  }

  remove(sequence: number): void {
    this.#messages.delete(sequence);
  }

  #makeRoom(bytes: number): void {
    const { maxBytes, maxMessages = Number.POSITIVE_INFINITY, discard } = this.definition;
    const isFull = (): boolean => this.bytes + bytes > maxBytes || this.#messages.size + 1 > maxMessages;
    if (discard === "new" && isFull()) throw new StreamFull(`${this.definition.name} is full`);
    while (isFull() && this.#messages.size > 0) this.remove(this.messages[0]!.sequence);
  }
}

interface Lease {
  deliveries: number;
  /** Of the newest delivery; the ones before have no say, but for `ack` and `nak`, as in JetStream. */
  timer: NodeJS.Timeout | undefined;
  isOut: boolean;
}

interface Waiter {
  readonly priority: number;
  take(message: MemoryMessage, deliveries: number): void;
}

export class MemoryConsumer {
  readonly definition: ConsumerDefinition;
  readonly #stream: MemoryStream;
  readonly #leases = new Map<number, Lease>();
  readonly #waiters = new Set<Waiter>();
  /** Given back, they go before new ones. */
  #returned: number[] = [];

  constructor(definition: ConsumerDefinition, stream: MemoryStream) {
    this.definition = definition;
    this.#stream = stream;
    stream.events.on("message", () => this.#serve());
  }

  get waiting(): number {
    return this.#mine().filter(({ sequence }) => !this.#leases.has(sequence)).length;
  }

  get delivered(): number {
    return this.#mine().filter(({ sequence }) => this.#leases.has(sequence)).length;
  }

  get pulls(): number {
    return this.#waiters.size;
  }

  /** Returns how to stop waiting. */
  wait(waiter: Waiter): () => void {
    this.#waiters.add(waiter);
    this.#serve();
    return () => this.#waiters.delete(waiter);
  }

  ack(sequence: number): void {
    clearTimeout(this.#leases.get(sequence)?.timer);
    this.#leases.delete(sequence);
    this.#stream.remove(sequence);
  }

  working(sequence: number): void {
    const lease = this.#leases.get(sequence);
    if (lease?.isOut === true) this.#startLease(sequence, lease);
  }

  nak(sequence: number, delayMs: number): void {
    const lease = this.#leases.get(sequence);
    if (lease === undefined) return;
    clearTimeout(lease.timer);
    if (delayMs === 0) this.#giveBack(sequence, lease);
    else lease.timer = setTimeout(() => this.#giveBack(sequence, lease), delayMs);
  }

  #mine(): MemoryMessage[] {
    return this.#stream.messages.filter(({ subject }) => matches(this.definition.filter, subject));
  }

  #giveBack(sequence: number, lease: Lease): void {
    lease.isOut = false;
    this.#returned.push(sequence);
    this.#serve();
  }

  #startLease(sequence: number, lease: Lease): void {
    clearTimeout(lease.timer);
    lease.isOut = true;
    lease.timer = setTimeout(() => this.#giveBack(sequence, lease), this.definition.ackWaitMs).unref();
  }

  #serve(): void {
    while (this.#waiters.size > 0) {
      const mine = this.#mine();
      this.#returned = this.#returned.filter((sequence) => mine.some((message) => message.sequence === sequence));
      const returned = this.#returned[0];
      const message = mine.find(({ sequence }) =>
        returned === undefined ? !this.#leases.has(sequence) : sequence === returned,
      );
      const best = [...this.#waiters].toSorted((a, b) => a.priority - b.priority)[0];
      if (message === undefined || best === undefined) return;
      this.#returned = this.#returned.filter((sequence) => sequence !== message.sequence);
      const lease = this.#leases.get(message.sequence) ?? { deliveries: 0, timer: undefined, isOut: true };
      lease.deliveries += 1;
      this.#leases.set(message.sequence, lease);
      this.#startLease(message.sequence, lease);
      this.#waiters.delete(best);
      best.take(message, lease.deliveries);
    }
  }
}

/** Whether a subject is one of those that a filter names. */
export function matches(filter: string, subject: string): boolean {
  const [wanted, parts] = [filter.split("."), subject.split(".")];
  if (wanted.at(-1) === ">" ? parts.length < wanted.length : parts.length !== wanted.length) return false;
  return wanted.every((part, index) => part === ">" || part === "*" || part === parts[index]);
}
