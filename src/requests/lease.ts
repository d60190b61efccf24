/** The claim on a request while it runs here, renewed regularly. Changes are made one after the other: each spends the claim before. */
import type { Logger } from "pino";
import type { Claim, Ended, RequestStore } from "../storage/request-store.ts";

export interface LeaseOptions {
  readonly store: RequestStore;
  readonly id: string;
  /** Names this process. */
  readonly owner: string;
  readonly log: Logger;
  /** Another process runs the request, or has ended it. */
  readonly onLost: () => void;
  /** Taken when absent. */
  readonly claim?: Claim | undefined;
  readonly terms?: LeaseTerms | undefined;
}

export interface LeaseTerms {
  /** How long others wait before they run a request whose owner has fallen silent. */
  readonly leaseMs: number;
  /** Infinity where others learn of a death before the lease runs out. */
  readonly renewalMs: number;
}

/** A renewal may fail twice, as on a full disk, before the lease runs out. */
const TERMS: LeaseTerms = { leaseMs: 60_000, renewalMs: 20_000 };

export class Lease {
  readonly #options: LeaseOptions;
  readonly #terms: LeaseTerms;
  readonly #timer: NodeJS.Timeout | undefined;
  #claim: Promise<Claim | undefined>;
  #isLost = false;
  #isEnding = false;

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#terms = options.terms ?? TERMS;
    this.#claim = options.claim === undefined ? this.#take() : Promise.resolve(options.claim);
    const { renewalMs } = this.#terms;
    if (Number.isFinite(renewalMs)) this.#timer = setInterval(() => void this.renew(), renewalMs).unref();
  }

  /** Another process runs the request, or has ended it. */
  get isLost(): boolean {
    return this.#isLost;
  }

  /** Also asks whether the claim still holds: a write says so, a read may be old. */
  async renew(): Promise<void> {
    // An end on its way is such a write. It may be repeated for seconds, and a renewal that overtook it would spend its claim.
    if (this.#isEnding) return;
    this.#claim = this.#renew(this.#claim);
    await this.#claim;
  }

  /** True when this is how the request ended. Rejects with `storage_full`; it may be tried again then. */
  async end(ended: Ended): Promise<boolean> {
    const { store, id } = this.#options;
    this.#isEnding = true;
    try {
      const claim = await this.#claim;
      // Without a claim the disk was full when it started, so no other process has one either.
      const isFirst = claim === undefined ? await store.cancel(id, ended) : await store.end(claim, ended);
      clearInterval(this.#timer);
      return isFirst;
    } finally {
      this.#isEnding = false;
    }
  }

  /** Gives the request back, unfinished; the attempt does not count. */
  async release(): Promise<void> {
    clearInterval(this.#timer);
    this.#isEnding = true;
    const claim = await this.#claim;
    if (claim !== undefined) await this.#options.store.release(claim);
  }

  async #take(): Promise<Claim | undefined> {
    const { store, id, owner, log } = this.#options;
    try {
      const claim = await store.claim(id, owner, this.#terms.leaseMs);
      if (typeof claim !== "string") return claim;
      this.#lose();
    } catch (error) {
      log.warn({ requestId: id, err: error }, "the claim on a request could not be written");
    }
    return undefined;
  }

  async #renew(earlier: Promise<Claim | undefined>): Promise<Claim | undefined> {
    const { store, id, log } = this.#options;
    const claim = await earlier;
    if (claim === undefined) return undefined;
    try {
      const renewed = await store.renew(claim, this.#terms.leaseMs);
      if (renewed !== "lost") return renewed;
      this.#lose();
    } catch (error) {
      log.warn({ requestId: id, err: error }, "a lease could not be renewed");
    }
    return claim;
  }

  #lose(): void {
    this.#isLost = true;
    this.#options.onLost();
  }
}
