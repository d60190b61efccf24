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
}

/** How long others wait before they run a request whose owner has fallen silent. */
const LEASE_MS = 60_000;
/** A renewal may fail twice, as on a full disk, before the lease runs out. */
const RENEWAL_MS = LEASE_MS / 3;

export class Lease {
  readonly #options: LeaseOptions;
  readonly #timer: NodeJS.Timeout;
  #claim: Promise<Claim | undefined>;

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#claim = this.#take();
    this.#timer = setInterval(() => {
      this.#claim = this.#renew(this.#claim);
    }, RENEWAL_MS).unref();
  }

  /** True when this is how the request ended. Rejects with `storage_full`; it may be tried again then. */
  async end(ended: Ended): Promise<boolean> {
    const { store, id } = this.#options;
    const claim = await this.#claim;
    // Without a claim the disk was full when it started, so no other process has one either.
    const isFirst = claim === undefined ? await store.cancel(id, ended) : await store.end(claim, ended);
    clearInterval(this.#timer);
    return isFirst;
  }

  /** Gives the request back, unfinished; the attempt does not count. */
  async release(): Promise<void> {
    clearInterval(this.#timer);
    const claim = await this.#claim;
    if (claim !== undefined) await this.#options.store.release(claim);
  }

  async #take(): Promise<Claim | undefined> {
    const { store, id, owner, log, onLost } = this.#options;
    try {
      const claim = await store.claim(id, owner, LEASE_MS);
      if (typeof claim !== "string") return claim;
      onLost();
    } catch (error) {
      log.warn({ requestId: id, err: error }, "the claim on a request could not be written");
    }
    return undefined;
  }

  async #renew(earlier: Promise<Claim | undefined>): Promise<Claim | undefined> {
    const { store, id, log, onLost } = this.#options;
    const claim = await earlier;
    if (claim === undefined) return undefined;
    try {
      const renewed = await store.renew(claim, LEASE_MS);
      if (renewed !== "lost") return renewed;
      onLost();
    } catch (error) {
      log.warn({ requestId: id, err: error }, "a lease could not be renewed");
    }
    return claim;
  }
}
