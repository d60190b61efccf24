/** The bus over NATS with JetStream. It is loaded only where a fleet is asked for. */
import { RequestError, TimeoutError, type Msg, type NatsConnection } from "@nats-io/transport-node";
import { Changes } from "../../async/changes.ts";
import { BusRefusal, BusTimeout, NoResponders, WrongSequence } from "../bus.ts";
import type { Bus, BusMessage, ConsumerName, Delivery, Header, Pending } from "../bus.ts";
import type { PutOptions, Question, Stored, StreamFill, Subscription } from "../bus.ts";
import type { FleetObserver } from "../observer.ts";
import { JetStreamApi, bytesOf, headerIn, headersOf } from "./api.ts";
import { connectToNats, type NatsOptions } from "./connect.ts";
import { Pulls } from "./pulls.ts";
import { Records } from "./records.ts";
import { ServerClock } from "./clock.ts";
import { watch, type WatchOptions } from "./watch.ts";

const NOTHING = Buffer.alloc(0);

export interface NatsBusOptions extends NatsOptions {
  /** Hears in one sentence of what NATS does not allow, and of connections that break. */
  readonly warn?: (text: string) => void;
  readonly observer?: Pick<FleetObserver, "raceLost">;
}

export class NatsBus implements Bus {
  readonly #connection: NatsConnection;
  readonly #warn: (text: string) => void;
  readonly #observer: NatsBusOptions["observer"];
  readonly #records: Records;
  readonly #pulls: Pulls;
  readonly #clock: ServerClock;
  readonly #changes = new Changes();
  #isConnected = true;

  private constructor(connection: NatsConnection, clock: ServerClock, options: NatsBusOptions) {
    const api = new JetStreamApi(connection);
    this.#connection = connection;
    this.#clock = clock;
    this.#warn = options.warn ?? (() => undefined);
    this.#observer = options.observer;
    this.#records = new Records(api);
    this.#pulls = new Pulls(connection, api, options.inbox);
    void this.#follow();
  }

  /** Rejects with a `ConfigError` that says in one sentence why it cannot. */
  static async connect(options: NatsBusOptions): Promise<NatsBus> {
    const connection = await connectToNats(options);
    return new NatsBus(connection, await ServerClock.read(connection), options);
  }

  get maxPayload(): number {
    return this.#connection.info?.max_payload ?? 2 ** 20;
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  now(): number {
    return this.#clock.now();
  }

  changed(signal: AbortSignal): Promise<void> {
    return this.#changes.next(signal);
  }

  publish(subject: string, header: Header, payload: Buffer = NOTHING): void {
    // The client would keep it in memory, without a limit, until there is a connection again.
    if (this.#isConnected) this.#connection.publish(subject, payload, { headers: headersOf(header) });
  }

  subscribe(subject: string, listener: (message: Question) => void): Subscription {
    const subscription = this.#connection.subscribe(subject, {
      callback: (error, message) => {
        if (error !== null) this.#warn(`nothing is heard at ${subject}: ${error.message}`);
        else listener({ ...toMessage(message), reply: (header, payload) => this.#reply(message, header, payload) });
      },
    });
    return { close: () => subscription.unsubscribe() };
  }

  async request(
    subject: string,
    header: Header,
    { payload = NOTHING, timeoutMs }: { readonly payload?: Buffer; readonly timeoutMs: number },
  ): Promise<BusMessage> {
    if (!this.#isConnected) throw new BusTimeout("there is no connection to NATS");
    try {
      return toMessage(
        await this.#connection.request(subject, payload, { headers: headersOf(header), timeout: timeoutMs }),
      );
    } catch (error) {
      if (error instanceof RequestError && error.isNoResponders())
        throw new NoResponders(`nobody listens at ${subject}`, { cause: error });
      if (error instanceof TimeoutError || !this.#isConnected || this.#connection.isClosed())
        throw new BusTimeout(`no answer from ${subject}`, { cause: error });
      throw new BusRefusal(error instanceof Error ? error.message : String(error), { cause: error });
    }
  }

  async put(stream: string, subject: string, header: Header, payload: Buffer, options: PutOptions): Promise<number> {
    try {
      return await this.#records.put(stream, subject, header, payload, options);
    } catch (error) {
      if (error instanceof WrongSequence) this.#observer?.raceLost?.(stream);
      throw error;
    }
  }

  get(stream: string, subject: string): Promise<Stored | undefined> {
    return this.#records.get(stream, subject);
  }

  getNearby(stream: string, subject: string): Promise<Stored | undefined> {
    return this.#records.getNearby(stream, subject);
  }

  purge(stream: string, subject: string): Promise<void> {
    return this.#records.purge(stream, subject);
  }

  watch(stream: string, filter: string, options: WatchOptions): AsyncIterable<Stored | "caught-up"> {
    return watch(this.#connection, stream, filter, options);
  }

  async pull(
    consumer: ConsumerName,
    options: { readonly expiresMs: number; readonly priority?: number; readonly signal?: AbortSignal },
  ): Promise<Delivery | undefined> {
    if (this.#isConnected) return this.#pulls.pull(consumer, options);
    const patience = AbortSignal.timeout(options.expiresMs);
    await this.changed(options.signal === undefined ? patience : AbortSignal.any([patience, options.signal]));
    return undefined;
  }

  nakAt(ackSubject: string): void {
    this.#pulls.nak(ackSubject);
  }

  pending(consumer: ConsumerName): Promise<Pending> {
    return this.#pulls.pending(consumer);
  }

  fill(stream: string): Promise<StreamFill> {
    return this.#records.fill(stream);
  }

  async roundTripMs(): Promise<number> {
    const beganMs = performance.now();
    if (!this.#isConnected) throw new BusTimeout("there is no connection to NATS");
    await this.#connection.flush();
    return performance.now() - beganMs;
  }

  async close(): Promise<void> {
    this.#pulls.giveUp();
    if (this.#connection.isClosed()) return;
    // What was published last is on its way before the socket closes; a server that is frozen must not keep us.
    if (this.#isConnected) await Promise.race([this.#connection.flush().catch(() => undefined), pauseMs(FLUSH_MS)]);
    await this.#connection.close();
  }

  #reply(message: Msg, header: Header, payload: Buffer = NOTHING): void {
    if (this.#isConnected) message.respond(payload, { headers: headersOf(header) });
  }

  async #follow(): Promise<void> {
    for await (const status of this.#connection.status()) {
      if (status.type === "disconnect") this.#connected(false);
      if (status.type === "reconnect") this.#connected(true);
      if (status.type === "error") this.#warn(`NATS: ${status.error.message}`);
      if (status.type === "slowConsumer") this.#warn("NATS: this process is too slow for what it listens to");
    }
    this.#connected(false);
  }

  #connected(isConnected: boolean): void {
    this.#isConnected = isConnected;
    if (isConnected) void this.#clock.correct(this.#connection);
    else this.#pulls.giveUp();
    this.#changes.announce();
  }
}

const FLUSH_MS = 2_000;

function pauseMs(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}

function toMessage({ subject, headers, data }: Msg): BusMessage {
  return { subject, header: headerIn(headers), payload: bytesOf(data) };
}
