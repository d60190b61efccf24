/**
 * A fleet's network in memory, for laws about what may happen in it. One {@link MemoryNetwork} is the servers; each process connects to
 * it, and can be cut off. Timers are Node's, so that vitest's fake ones move it.
 */
import {
  BusRefusal,
  BusTimeout,
  BusUnavailable,
  NoResponders,
  WrongSequence,
  type Bus,
  type BusMessage,
  type ConsumerName,
  type Delivery,
  type Header,
  type Pending,
  type PutOptions,
  type Question,
  type Stored,
  type StreamFill,
  type Subscription,
} from "../../src/cluster/bus.ts";
import { Changes } from "../../src/async/changes.ts";
import { pause } from "../../src/async/timer.ts";
import type { Layout } from "../../src/cluster/layout.ts";
import { MemoryConsumer, MemoryStream, matches, type MemoryMessage } from "./memory-stream.ts";

const EMPTY = Buffer.alloc(0);
const RETRY_MS = 1;

interface Listener {
  readonly bus: MemoryBus;
  readonly filter: string;
  readonly hear: (message: Question) => void;
}

export class MemoryNetwork {
  /** Answers to that many of the next writes are lost, after the write. */
  repliesToEat = 0;
  /**
   * The next write of a record is also heard by a leader that was suspended and has missed the write before: it refuses what its successor
   * takes, and answers that many reads that follow.
   */
  oldLeader: { readonly reads: number } | undefined;
  /** Reads that it still answers. */
  oldReads = 0;
  /** Messages for which this is true are lost on their way. */
  drops: (subject: string) => boolean = () => false;
  /** How long a core message is on its way. */
  delayMs = 0;
  /** What becomes of each header on its way: as if another release had written it. */
  says: (header: Header) => Header = (header) => header;
  /** Writes and reads of streams fail while the servers have no majority; core messages go on. */
  hasMajority = true;
  /** Bytes of a message, headers included. */
  maxPayload = 2 ** 20;
  /** How long writes are repeated. */
  patienceMs = 10_000;
  readonly listeners = new Set<Listener>();
  readonly #streams = new Map<string, MemoryStream>();
  readonly #consumers = new Map<string, MemoryConsumer>();
  readonly #startedAtMs = performance.now();
  readonly #epochMs = Date.now();

  constructor(layout: Layout) {
    for (const definition of layout.streamDefinitions)
      this.#streams.set(definition.name, new MemoryStream(definition, () => this.now()));
    for (const definition of layout.consumerDefinitions)
      this.#consumers.set(
        `${definition.stream}/${definition.name}`,
        new MemoryConsumer(definition, this.stream(definition.stream)),
      );
  }

  connect(): MemoryBus {
    return new MemoryBus(this);
  }

  now(): number {
    return Math.floor(this.#epochMs + performance.now() - this.#startedAtMs);
  }

  stream(name: string): MemoryStream {
    const stream = this.#streams.get(name);
    if (stream === undefined) throw new BusRefusal(`there is no stream ${name}`);
    return stream;
  }

  consumer({ stream, name }: Pick<ConsumerName, "stream" | "name">): MemoryConsumer {
    const consumer = this.#consumers.get(`${stream}/${name}`);
    if (consumer === undefined) throw new BusRefusal(`there is no consumer ${name} of ${stream}`);
    return consumer;
  }

  said(header: Header): Header {
    return this.says(JSON.parse(JSON.stringify(header)) as Header);
  }

  /** Returns how many it will reach. */
  send(from: MemoryBus, subject: string, header: Header, payload: Buffer, reply: Question["reply"]): number {
    if (!from.isConnected || this.drops(subject)) return 0;
    const heard = [...this.listeners].filter(({ bus, filter }) => bus.isConnected && matches(filter, subject));
    const message = {
      subject,
      header: this.said(header),
      payload: Buffer.from(payload),
      reply,
    };
    const deliver = (): void => {
      for (const listener of heard)
        if (this.listeners.has(listener) && listener.bus.isConnected) listener.hear(message);
    };
    if (this.delayMs === 0) setImmediate(deliver);
    else setTimeout(deliver, this.delayMs);
    return heard.length;
  }
}

export class MemoryBus implements Bus {
  readonly #network: MemoryNetwork;
  /** Called around each write. A test that closes the bus then has the process die at exactly this point. */
  atWrite: (moment: string) => void = () => undefined;
  readonly #changes = new Changes();
  readonly #subscriptions = new Set<Listener>();
  #isConnected = true;
  #isClosed = false;

  constructor(network: MemoryNetwork) {
    this.#network = network;
  }

  get maxPayload(): number {
    return this.#network.maxPayload;
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  /** Cuts this process off, or lets it in again. */
  set isConnected(isConnected: boolean) {
    this.#isConnected = isConnected && !this.#isClosed;
    this.#changes.announce();
  }

  now(): number {
    return this.#network.now();
  }

  changed(signal: AbortSignal): Promise<void> {
    return this.#changes.next(signal);
  }

  publish(subject: string, header: Header, payload = EMPTY): void {
    this.#network.send(this, subject, header, payload, () => undefined);
  }

  subscribe(subject: string, hear: (message: Question) => void): Subscription {
    const listener = { bus: this, filter: subject, hear };
    this.#network.listeners.add(listener);
    this.#subscriptions.add(listener);
    return {
      close: () => {
        this.#network.listeners.delete(listener);
        this.#subscriptions.delete(listener);
      },
    };
  }

  request(
    subject: string,
    header: Header,
    { payload = EMPTY, timeoutMs }: { payload?: Buffer; timeoutMs: number },
  ): Promise<BusMessage> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new BusTimeout(`no answer from ${subject}`)), timeoutMs);
      const reply = (answer: Header, bytes = EMPTY): void => {
        if (!this.isConnected) return;
        clearTimeout(timer);
        const message = { subject, header: this.#network.said(answer), payload: Buffer.from(bytes) };
        setImmediate(() => resolve(message));
      };
      const count = this.#network.send(this, subject, header, payload, reply);
      if (count > 0 || !this.isConnected || this.#network.drops(subject)) return;
      clearTimeout(timer);
      reject(new NoResponders(`nobody listens at ${subject}`));
    });
  }

  put(stream: string, subject: string, header: Header, payload: Buffer, options: PutOptions): Promise<number> {
    return this.#writing(`put ${subject}`, () => {
      const { oldLeader } = this.#network;
      const sequence = this.#network.stream(stream).put(subject, this.#network.said(header), payload, options);
      if (oldLeader !== undefined && options.expected !== undefined) {
        this.#network.oldLeader = undefined;
        this.#network.oldReads = oldLeader.reads;
        throw new WrongSequence(`${subject}: refused by a leader of before`);
      }
      if (this.#network.repliesToEat === 0) return { value: sequence };
      this.#network.repliesToEat -= 1;
      return undefined;
    });
  }

  get(stream: string, subject: string): Promise<Stored | undefined> {
    return this.#repeat(() => {
      const isOld = this.#network.oldReads > 0;
      if (isOld) this.#network.oldReads -= 1;
      const found = this.#network.stream(stream);
      const message = isOld ? found.newestBefore(subject) : found.newest(subject);
      return { value: message && toStored(message) };
    });
  }

  getNearby(stream: string, subject: string): Promise<Stored | undefined> {
    return this.get(stream, subject);
  }

  purge(stream: string, filter: string): Promise<void> {
    return this.#writing(`purge ${filter}`, () => {
      const found = this.#network.stream(stream);
      for (const { subject, sequence } of found.messages) if (matches(filter, subject)) found.remove(sequence);
      return { value: undefined };
    });
  }

  async *watch(
    name: string,
    filter: string,
    { signal, headersOnly }: { signal: AbortSignal; headersOnly: boolean },
  ): AsyncGenerator<Stored | "caught-up", void, undefined> {
    const stream = this.#network.stream(name);
    const shown = (message: MemoryMessage): Stored => ({
      ...toStored(message),
      ...(headersOnly ? { payload: EMPTY } : {}),
    });
    let after = 0;
    let isCaughtUp = false;
    while (!signal.aborted) {
      // It begins at a leader.
      if (!isCaughtUp && !this.#network.hasMajority) {
        await pause(RETRY_MS, signal);
        continue;
      }
      const wake = new AbortController();
      const stop = AbortSignal.any([signal, wake.signal]);
      const hear = (): void => wake.abort();
      stream.events.once("message", hear);
      const fresh = this.isConnected
        ? stream.messages.filter(({ subject, sequence }) => sequence > after && matches(filter, subject))
        : [];
      for (const message of fresh) {
        after = message.sequence;
        yield shown(message);
      }
      if (!isCaughtUp && this.isConnected) yield "caught-up";
      isCaughtUp ||= this.isConnected;
      await (this.isConnected ? pause(2 ** 31 - 1, stop) : this.#changes.next(stop));
      stream.events.off("message", hear);
    }
  }

  async pull(
    name: ConsumerName,
    { expiresMs, priority = 0, signal }: { expiresMs: number; priority?: number; signal?: AbortSignal },
  ): Promise<Delivery | undefined> {
    const consumer = this.#network.consumer(name);
    const done = new AbortController();
    const stop = signal === undefined ? done.signal : AbortSignal.any([done.signal, signal]);
    let taken: Delivery | undefined;
    if (!this.isConnected || !this.#network.hasMajority) await pause(expiresMs, stop);
    else {
      const leave = consumer.wait({
        priority,
        take: (message, deliveries) => {
          taken = this.#delivery(name, message, deliveries);
          done.abort();
        },
      });
      await pause(expiresMs, stop);
      leave();
    }
    return taken;
  }

  nakAt(ackSubject: string): void {
    const [stream = "", name = "", sequence] = ackSubject.split("/");
    if (this.isConnected) this.#network.consumer({ stream, name }).nak(Number(sequence), 0);
  }

  pending(name: ConsumerName): Promise<Pending> {
    return this.#repeat(() => {
      const { waiting, delivered, pulls } = this.#network.consumer(name);
      return { value: { waiting, delivered, pulls } };
    });
  }

  fill(name: string): Promise<StreamFill> {
    return this.#repeat(() => {
      const { messages, bytes, firstSequence, definition } = this.#network.stream(name);
      const { maxBytes } = definition;
      return { value: { messages: messages.length, bytes, firstSequence, maxBytes, awayServers: [] } };
    });
  }

  async roundTripMs(): Promise<number> {
    if (!this.isConnected) throw new BusTimeout("there is no connection");
    return this.#network.delayMs;
  }

  close(): Promise<void> {
    this.#isClosed = true;
    this.isConnected = false;
    for (const listener of this.#subscriptions) this.#network.listeners.delete(listener);
    return Promise.resolve();
  }

  #delivery(name: ConsumerName, message: MemoryMessage, deliveries: number): Delivery {
    const { sequence } = message;
    const consumer = this.#network.consumer(name);
    return {
      ...toStored(message),
      deliveries,
      ackSubject: `${name.stream}/${name.name}/${sequence}/${deliveries}`,
      ack: () =>
        this.#writing(`ack ${message.subject}`, () => {
          consumer.ack(sequence);
          return { value: undefined };
        }),
      working: () => this.isConnected && consumer.working(sequence),
      nak: (delayMs = 0) => this.isConnected && consumer.nak(sequence, delayMs),
    };
  }

  #writing<Value>(what: string, write: () => { value: Value } | undefined): Promise<Value> {
    return this.#repeat(() => {
      this.atWrite(`before ${what}`);
      const written = this.#isClosed ? undefined : write();
      this.atWrite(`after ${what}`);
      return this.#isClosed ? undefined : written;
    });
  }

  /** Until it has a value to give, or the patience ends. What it throws is final. */
  async #repeat<Value>(attempt: () => { value: Value } | undefined): Promise<Value> {
    const deadline = performance.now() + this.#network.patienceMs;
    do {
      await new Promise((resolve) => setImmediate(resolve));
      const done = this.isConnected && this.#network.hasMajority ? attempt() : undefined;
      if (done !== undefined) return done.value;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    } while (performance.now() < deadline && !this.#isClosed);
    throw new BusUnavailable("the servers do not answer");
  }
}

function toStored({ subject, header, payload, sequence, storedAtMs }: MemoryMessage): Stored {
  return { subject, header, payload, sequence, storedAtMs };
}
