/**
 * Takes tickets from the shared queue when a device of this machine could show one more job soon. One short pull for each device: a pull
 * that is parked for long would claim by an old price, and dies unnoticed with the leader of its consumer.
 */
import type { DeviceOffer, Offer } from "../../jobs/offer.ts";
import type { Bus, ConsumerName, Delivery } from "../bus.ts";
import type { TicketClass } from "../layout.ts";
import type { OtherDevice, PullFacts, PullRule } from "./pull-rule.ts";

export interface PullerOptions {
  readonly bus: Bus;
  readonly consumers: Readonly<Record<TicketClass, ConsumerName>>;
  readonly rule: PullRule;
  /** Jobs that a device of the fastest kind holds at most. */
  readonly slots: number;
  readonly offer: () => Offer;
  /** Devices of the pool on other machines. */
  readonly elsewhere: () => readonly OtherDevice[];
  /** Steps of the model's usual image. */
  readonly imageSteps: () => number;
  /** Whether this machine takes work at all. */
  readonly isOpen: () => boolean;
  /** Resolves when the offer includes what was taken, or when it was not. Must not reject. */
  readonly take: (delivery: Delivery) => Promise<void>;
}

const EXPIRES_MS = 1_000;
/** What nobody announces is noticed this soon: a worker that is ready again, a pull that ended too early. */
const LOOK_AGAIN_MS = 250;
/** Work of low priority is taken when no other came for this long. */
const QUIET_MS = 250;
const LOW = "low";

export class Puller {
  readonly #options: PullerOptions;
  readonly #stopped = new AbortController();
  /** Slots of the devices that have a pull out, and `low` for the one that asks for work of low priority. */
  readonly #out = new Map<number | typeof LOW, Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  /** Takes back the question for work of low priority. */
  #stopLow = new AbortController();
  #lastNormalMs = Number.NEGATIVE_INFINITY;

  constructor(options: PullerOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => this.wake(), LOOK_AGAIN_MS);
    this.wake();
  }

  /** Something has changed: a step, an end, a worker that is ready. */
  wake(): void {
    const { isOpen, offer, bus } = this.#options;
    if (this.#stopped.signal.aborted || !isOpen() || !bus.isConnected) return;
    const { devices, queued } = offer();
    // Whatever this machine has and cannot place comes first.
    if (queued > 0) return;
    const asking = devices.filter((device) => this.#mayPull(device));
    for (const device of asking) if (!this.#out.has(device.slot)) this.#keep(device.slot, this.#pullNormal(device));
    if (!this.#out.has(LOW) && this.#mayTakeLow(asking)) this.#keep(LOW, this.#pullLow());
  }

  /** Asks for nothing more. Resolves when no pull is out. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#stopped.abort();
    await Promise.all(this.#out.values());
  }

  #keep(key: number | typeof LOW, pulling: Promise<boolean>): void {
    const sinceMs = performance.now();
    const done = pulling.then((found) => {
      this.#out.delete(key);
      // One that came back empty too early would do so again at once: there is no connection. The timer asks again.
      if (found || performance.now() - sinceMs > EXPIRES_MS / 2) this.wake();
    });
    this.#out.set(key, done);
  }

  async #pullNormal(device: DeviceOffer): Promise<boolean> {
    const { consumers, rule } = this.#options;
    return this.#pull(consumers.n, rule.priority(this.#facts(device)), this.#stopped.signal, () => {
      this.#lastNormalMs = performance.now();
      // There may have been room for one only.
      this.#stopLow.abort();
    });
  }

  #pullLow(): Promise<boolean> {
    this.#stopLow = new AbortController();
    const signal = AbortSignal.any([this.#stopped.signal, this.#stopLow.signal]);
    return this.#pull(this.#options.consumers.l, 0, signal);
  }

  async #pull(
    consumer: ConsumerName,
    priority: number,
    signal: AbortSignal,
    onFound: () => void = () => undefined,
  ): Promise<boolean> {
    const { bus, take } = this.#options;
    const delivery = await bus.pull(consumer, { expiresMs: EXPIRES_MS, priority, signal }).catch(() => undefined);
    if (delivery === undefined) return false;
    onFound();
    if (signal.aborted) delivery.nak();
    else await take(delivery);
    return true;
  }

  #mayPull(device: DeviceOffer): boolean {
    return this.#options.rule.mayPull(this.#facts(device));
  }

  /** Two places have to be free: the next normal one is not to wait for it. */
  #mayTakeLow(asking: readonly DeviceOffer[]): boolean {
    if (performance.now() - this.#lastNormalMs < QUIET_MS) return false;
    return asking.some((device) => this.#mayPull({ ...device, held: device.held + 1 }));
  }

  #facts(device: DeviceOffer): PullFacts {
    const { offer, elsewhere, imageSteps, slots } = this.#options;
    const beside = offer().devices.filter(({ slot }) => slot !== device.slot);
    return { device, others: [...beside, ...elsewhere()], slots, imageSteps: imageSteps() };
  }
}
