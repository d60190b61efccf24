/** Claims on requests: who may run one, and end it. Each is a write on condition of the write before. */
import type { Claim } from "../../storage/request-store.ts";
import { BusUnavailable } from "../bus.ts";
import type { RecordStream } from "./records.ts";
import { changed, type NewRecord, type StateRecord } from "./state-record.ts";

export interface ClaimsOptions {
  readonly records: Pick<RecordStream, "write" | "read">;
  readonly now: () => number;
}

/** Writes whose answer never came. Each may have counted. */
interface Unanswered {
  /** Nonces of claims that nobody was given. */
  readonly claims: Set<string>;
  /** Nonces of renewals. */
  readonly renewals: Set<string>;
}

export class Claims {
  readonly #options: ClaimsOptions;
  /** Records as this process has written them last, by id: to renew a claim must not need a read. */
  readonly #claimed = new Map<string, StateRecord>();
  readonly #unanswered = new Map<string, Unanswered>();

  constructor(options: ClaimsOptions) {
    this.#options = options;
  }

  /** @param record As it was read. Undefined when another write came first. */
  async take(record: StateRecord, owner: string, leaseMs: number): Promise<Claim | undefined> {
    const { id, attempts } = record.head;
    const attempt = attempts + 1;
    const leaseUntilMs = this.#options.now() + leaseMs;
    const facts = { kind: "running", holder: owner, attempts: attempt, leaseUntilMs } as const;
    const revision = await this.#write(changed(record, facts), record.revision, "claims");
    return revision === undefined ? undefined : { id, owner, attempt, revision };
  }

  /** A claim that this process won without being told so: nothing was run for it, so it must not count twice. */
  unheard(record: StateRecord, owner: string): Claim | undefined {
    const { id, holder, attempts: attempt, nonce } = record.head;
    if (holder !== owner || this.#unanswered.get(id)?.claims.has(nonce) !== true) return undefined;
    this.#note(record);
    return { id, owner, attempt, revision: record.revision };
  }

  async renew(claim: Claim, leaseMs: number): Promise<Claim | "lost"> {
    const renewed = await this.#replace(claim, () => ({ leaseUntilMs: this.#options.now() + leaseMs }));
    return renewed === undefined ? "lost" : { ...claim, revision: renewed };
  }

  async release(claim: Claim): Promise<void> {
    await this.#replace(claim, ({ head: { attempts } }) => ({
      ...{ kind: "queued", holder: null, leaseUntilMs: null, attempts: attempts - 1 },
    }));
    this.forget(claim.id);
  }

  /**
   * Replaces the record of a claim, whichever of its renewals was the last that counted.
   * @param write Undefined or false when another write came first.
   */
  async replacing<Value>(
    claim: Claim,
    write: (record: StateRecord) => Promise<Value | undefined>,
  ): Promise<Value | undefined> {
    let tried: StateRecord | undefined;
    for (let record = await this.#recordOf(claim); record !== undefined; record = await this.#recordOf(claim, tried)) {
      const written = await write(record);
      if (written !== undefined) return written;
      if (!this.#unanswered.has(claim.id)) break;
      tried = record;
    }
    this.#claimed.delete(claim.id);
    return undefined;
  }

  /** It has ended, or is somebody else's. */
  forget(id: string): void {
    this.#claimed.delete(id);
    this.#unanswered.delete(id);
  }

  #replace(claim: Claim, facts: (record: StateRecord) => Parameters<typeof changed>[1]): Promise<number | undefined> {
    return this.replacing(claim, (record) => this.#write(changed(record, facts(record)), record.revision, "renewals"));
  }

  /** Undefined when the claim is spent. @param tried One that was refused already. */
  async #recordOf({ id, revision }: Claim, tried?: StateRecord): Promise<StateRecord | undefined> {
    const known = this.#claimed.get(id);
    if (tried === undefined && known?.revision === revision) return known;
    const record = await this.#options.records.read(id);
    if (record === undefined || record.revision === tried?.revision) return undefined;
    const isRenewed = this.#unanswered.get(id)?.renewals.has(record.head.nonce) === true;
    return record.revision === revision || isRenewed ? record : undefined;
  }

  async #write(record: NewRecord, expected: number, kind: keyof Unanswered): Promise<number | undefined> {
    const { id, nonce } = record.head;
    let revision: number | undefined;
    try {
      revision = await this.#options.records.write(record, expected, this.#options.now());
    } catch (error) {
      if (error instanceof BusUnavailable) this.#unansweredOf(id)[kind].add(nonce);
      throw error;
    }
    if (revision !== undefined) this.#note({ ...record, revision });
    return revision;
  }

  #note(record: StateRecord): void {
    this.#unanswered.delete(record.head.id);
    this.#claimed.set(record.head.id, record);
  }

  #unansweredOf(id: string): Unanswered {
    const known = this.#unanswered.get(id) ?? { claims: new Set(), renewals: new Set() };
    this.#unanswered.set(id, known);
    return known;
  }
}
