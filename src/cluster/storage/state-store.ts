/**
 * Requests of a fleet: one record each, and every decision a write that one process wins. Nothing is decided by reading, since a server
 * that was suspended may still answer with what was so before.
 */
import { setTimeout } from "node:timers/promises";
import type { InputFiles } from "../../images/source.ts";
import { Conflict, type Claim, type DueWebhook, type Ended } from "../../storage/request-store.ts";
import type { EndedRequest, StoredRequest } from "../../storage/request-store.ts";
import type { AcceptedRequest, RequestResult } from "../../storage/request-record.ts";
import { StreamFull } from "../bus.ts";
import { Claims } from "./claims.ts";
import type { FleetStoreOptions } from "./file-store.ts";
import type { FleetRequestStore, RequestState } from "./fleet-requests.ts";
import { Hooks } from "./hooks.ts";
import { RecordFiles } from "./record-files.ts";
import { RecordStream } from "./records.ts";
import { storing } from "./store-errors.ts";
import { changed, parseRequest, parseResult, toState, type NewRecord, type StateRecord } from "./state-record.ts";

/** A race that is lost this often is none: something writes the record all the time. */
const MAX_RACES = 20;
const MAX_PAUSE_MS = 500;
/** Inputs of a request that is not there yet may be on their way. */
const ORPHAN_MS = 120_000;
/** Each is a look at everything that is kept. */
const SWEEPS_BETWEEN = 10;

export class FleetStateStore implements FleetRequestStore {
  readonly #records: RecordStream;
  readonly #files: RecordFiles;
  readonly #hooks: Hooks;
  readonly #keepMs: number;
  readonly #now: () => number;
  readonly #claims: Claims;
  /** What ended before this is forgotten. Servers remove it by themselves, a little later. */
  #horizonMs: number;
  #sweeps = 0;

  constructor({ bus, layout, keepMs, now = () => bus.now() }: FleetStoreOptions) {
    this.#records = new RecordStream(bus, layout);
    this.#files = new RecordFiles(bus, layout);
    this.#hooks = new Hooks({ bus, layout, keepMs, now, records: this.#records, files: this.#files });
    this.#claims = new Claims({ records: this.#records, now });
    this.#keepMs = keepMs;
    this.#now = now;
    this.#horizonMs = now();
  }

  accept(request: AcceptedRequest, ended?: Ended, files?: InputFiles): Promise<void> {
    return storing(async () => {
      const now = this.#now();
      await this.#records.checkRoom(files);
      const inputFiles = files === undefined ? undefined : await this.#files.putInputs(request.id, files, now);
      const kept = inputFiles === undefined ? request : { ...request, inputFiles };
      try {
        await this.#create(kept, ended, now);
      } catch (error) {
        if (error instanceof Conflict || error instanceof StreamFull) await this.#files.removeInputs(inputFiles);
        throw error;
      }
    });
  }

  find(id: string): Promise<StoredRequest | undefined> {
    return storing(async () => {
      const record = await this.#read(id);
      if (record === undefined) return undefined;
      const { attempts, holder, leaseUntilMs, result: place, body } = record.head;
      const request = await this.#request(record);
      const result = place === null ? null : await this.#result(record);
      if (request === undefined || result === undefined || !(await this.#files.isThere(body))) return undefined;
      return { request, attempts, holder, result, isHeld: leaseUntilMs !== null && leaseUntilMs > this.#now() };
    });
  }

  inputFiles(id: string): Promise<InputFiles | undefined> {
    return storing(async () => {
      const record = await this.#read(id);
      if (record === undefined || record.head.kind === "ended") return undefined;
      const keys = (await this.#request(record))?.inputFiles;
      return keys === undefined ? undefined : this.#files.readInputs(keys);
    });
  }

  ended(id: string): Promise<EndedRequest | undefined> {
    return storing(async () => {
      const record = await this.#read(id);
      if (record === undefined || record.head.kind !== "ended") return undefined;
      const [request, result, body] = [
        await this.#request(record),
        await this.#result(record),
        await this.#files.read(record, "body"),
      ];
      return request === undefined || result === undefined || body === undefined
        ? undefined
        : { request, result, body };
    });
  }

  async *unfinished(): AsyncGenerator<StoredRequest, void, undefined> {
    const heads = (await storing(() => this.#records.heads())).heads.map(({ head }) => head);
    const open = heads.filter(({ kind }) => kind !== "ended");
    for (const { id } of open.toSorted((a, b) => a.acceptedAtMs - b.acceptedAtMs || a.id.localeCompare(b.id))) {
      const stored = await this.find(id);
      if (stored?.result === null) yield stored;
    }
  }

  claim(id: string, owner: string, leaseMs: number, from?: string): Promise<Claim | "held" | "ended" | "unknown"> {
    return storing(() =>
      this.#race(id, async () => {
        const [record, now] = [await this.#read(id), this.#now()];
        if (record === undefined) return "unknown";
        const { kind, holder, leaseUntilMs } = record.head;
        if (kind === "ended") return "ended";
        const unheard = this.#claims.unheard(record, owner);
        if (unheard !== undefined) return unheard;
        if (holder !== null && (leaseUntilMs ?? 0) > now && holder !== from) return "held";
        return this.#claims.take(record, owner, leaseMs);
      }),
    );
  }

  renew(claim: Claim, leaseMs: number): Promise<Claim | "lost"> {
    return storing(() => this.#claims.renew(claim, leaseMs));
  }

  release(claim: Claim): Promise<void> {
    return storing(() => this.#claims.release(claim));
  }

  end(claim: Claim, ended: Ended): Promise<boolean> {
    return storing(async () => {
      const isFirst = await this.#claims.replacing(
        claim,
        async (record) => (await this.#end(record, ended)) || undefined,
      );
      return isFirst === true;
    });
  }

  cancel(id: string, ended: Ended): Promise<boolean> {
    return storing(() =>
      this.#race(id, async () => {
        const record = await this.#read(id);
        if (record === undefined || record.head.kind === "ended") return false;
        return (await this.#end(record, ended)) || undefined;
      }),
    );
  }

  nextWebhook(signal: AbortSignal): Promise<DueWebhook | undefined> {
    return this.#hooks.next(signal);
  }

  settleWebhook(webhook: DueWebhook, retryInMs: number | null): Promise<void> {
    return storing(() => this.#hooks.settle(webhook, retryInMs));
  }

  remindOfWebhook(id: string): Promise<void> {
    return storing(() => this.#hooks.remind(id));
  }

  async *watch(signal: AbortSignal): AsyncGenerator<RequestState | "caught-up", void, undefined> {
    for await (const stored of this.#records.watch(signal)) {
      const state = stored === "caught-up" ? stored : toState(stored);
      // One that cannot be read must not hide those behind it.
      if (state !== undefined) yield state;
    }
  }

  countTicket(id: string, revision: number): Promise<number | undefined> {
    return storing(async () => {
      const record = await this.#records.read(id);
      if (record?.revision !== revision) return undefined;
      const tickets = record.head.tickets + 1;
      const counted = await this.#records.write(changed(record, { tickets }), revision, this.#now());
      return counted === undefined ? undefined : tickets;
    });
  }

  /** Servers forget records by themselves; what no record names any more goes here. */
  expire(): Promise<void> {
    return storing(async () => {
      this.#horizonMs = this.#now();
      await this.#records.makeRoom();
      this.#sweeps += 1;
      if (this.#sweeps % SWEEPS_BETWEEN === 0) await this.sweep();
    });
  }

  /** Removes files of requests that are not there, or have ended. */
  async sweep(olderThanMs = this.#now() - ORPHAN_MS): Promise<void> {
    await this.#files.sweep(olderThanMs, async (id) => {
      const head = await this.#records.headOf(id);
      return head !== undefined && (head === "unreadable" || head.kind !== "ended" || head.hook?.isDue === true);
    });
  }

  async #create(request: AcceptedRequest, ended: Ended | undefined, now: number): Promise<void> {
    const record = await this.#files.newRecord(request, ended, { nowMs: now, keepMs: this.#keepMs });
    try {
      const revision = (await this.#records.write(record, 0, now)) ?? (await this.#replaceForgotten(record, now));
      if (revision === undefined) throw new Conflict(`there is a request ${request.id} already`);
    } catch (error) {
      if (error instanceof Conflict || error instanceof StreamFull) await this.#files.remove(record.head);
      throw error;
    }
    if (record.head.hook?.isDue === true) await this.#records.putHook(request.id);
  }

  /** A record that has expired may still be there. Undefined when it has not. */
  async #replaceForgotten(record: NewRecord, now: number): Promise<number | undefined> {
    const known = await this.#records.read(record.head.id);
    if (known !== undefined && !this.#isForgotten(known)) return undefined;
    return this.#records.write(record, known?.revision ?? 0, now);
  }

  async #end(record: StateRecord, ended: Ended): Promise<boolean> {
    const now = this.#now();
    const text = await this.#files.read(record, "request");
    if (text === undefined) return false;
    const made = await this.#files.endedRecord(record, text, ended, { nowMs: now, keepMs: this.#keepMs });
    let revision: number | undefined;
    try {
      revision = await this.#writeEnd(made, record.revision, now);
    } catch (error) {
      if (error instanceof StreamFull) await this.#files.remove(made.head, record.head);
      throw error;
    }
    if (revision === undefined) {
      await this.#files.remove(made.head, record.head);
      return false;
    }
    this.#claims.forget(record.head.id);
    // Nothing depends on these: what a death leaves here, the sweep finds.
    await this.#files.remove(record.head, made.head);
    await this.#files.removeInputs(parseRequest(text).inputFiles);
    if (made.head.hook?.isDue === true) await this.#records.putHook(record.head.id);
    return true;
  }

  /** An end is larger than what it replaces. Where there is no room, those of others go first. */
  async #writeEnd(made: NewRecord, expected: number, now: number): Promise<number | undefined> {
    try {
      return await this.#records.write(made, expected, now);
    } catch (error) {
      if (!(error instanceof StreamFull) || (await this.#records.makeRoom(0)) === 0) throw error;
      return this.#records.write(made, expected, now);
    }
  }

  /** Undefined also for what has been kept long enough. */
  async #read(id: string): Promise<StateRecord | undefined> {
    const record = await this.#records.read(id);
    return record === undefined || this.#isForgotten(record) ? undefined : record;
  }

  #isForgotten({ head: { hook, expiresAtMs } }: StateRecord): boolean {
    return expiresAtMs !== null && expiresAtMs <= this.#horizonMs && hook?.isDue !== true;
  }

  async #race<Value>(id: string, attempt: () => Promise<Value | undefined>): Promise<Value> {
    for (let races = 0; races < MAX_RACES; races += 1) {
      const value = await attempt();
      if (value !== undefined) return value;
      // The winner's write is refused to others before it can be read: disks may need a while.
      await setTimeout(Math.min(MAX_PAUSE_MS, 2 ** races));
    }
    throw new Error(`the record of ${id} changes all the time`);
  }

  async #request(record: StateRecord): Promise<AcceptedRequest | undefined> {
    const text = await this.#files.read(record, "request");
    return text && parseRequest(text);
  }

  async #result(record: StateRecord): Promise<RequestResult | undefined> {
    const text = await this.#files.read(record, "result");
    return text && parseResult(text);
  }
}
