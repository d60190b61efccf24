/** Records of requests as they are in the stream: read at its leader, written under condition. */
import { randomUUID } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import type { InputFiles } from "../../images/source.ts";
import { BusUnavailable, WrongSequence, type Bus } from "../bus.ts";
import type { Layout } from "../layout.ts";
import { StreamRoom } from "./stream-room.ts";
import { filesOf, headIfReadable, readRecord, toHeader } from "./state-record.ts";
import type { NewRecord, StateHeader, StateRecord } from "./state-record.ts";

/** Above this, ends make room before their time. */
const FORGET_ABOVE = 0.7;
/** How much they make. */
const FORGET_DOWN_TO = 0.6;
/** A write is given at least this long, by the shortest time that servers know. */
const SHORTEST_MS = 1_000;
/** A leader without its followers answers for 4.8 s before it steps down. */
const OLD_LEADER_MS = 6_000;
const SHORTEST_PAUSE_MS = 5;
const LONGEST_PAUSE_MS = 500;

interface Heads {
  readonly heads: readonly { readonly head: StateHeader; readonly revision: number }[];
  /** Records that are damaged, or of a later version. */
  readonly unreadable: number;
}

export class RecordStream {
  readonly #bus: Bus;
  readonly #layout: Layout;
  readonly #stream: string;
  readonly #room: StreamRoom;

  constructor(bus: Bus, layout: Layout) {
    this.#bus = bus;
    this.#layout = layout;
    this.#stream = layout.streams.state;
    this.#room = new StreamRoom(bus, [layout.streams.state, layout.streams.inputs]);
  }

  async read(id: string): Promise<StateRecord | undefined> {
    const stored = await this.#bus.get(this.#stream, this.#layout.state(id));
    return stored && readRecord(stored);
  }

  /** Whether a record is there, also one that this version cannot read. */
  async headOf(id: string): Promise<StateHeader | "unreadable" | undefined> {
    const stored = await this.#bus.get(this.#stream, this.#layout.state(id));
    return stored === undefined ? undefined : (headIfReadable(stored.header) ?? "unreadable");
  }

  /**
   * Returns the new revision; undefined when another write came first, which is believed when that one can be read.
   * @param expected 0 for a new one.
   */
  async write({ head, payload }: NewRecord, expected: number, nowMs: number): Promise<number | undefined> {
    const { id, kind, hook, expiresAtMs } = head;
    const isSettled = kind === "ended" && hook?.isDue !== true && expiresAtMs !== null;
    const ttl = isSettled ? { ttlMs: Math.max(SHORTEST_MS, expiresAtMs - nowMs) } : {};
    const options = { expected, id: `${id}.${kind}.${head.nonce}`, ...ttl };
    const header = toHeader(head);
    this.#room.took(this.#stream, payload.byteLength + JSON.stringify(header).length);
    for (const file of filesOf(head))
      if (file.in === "inputs") this.#room.took(this.#layout.streams.inputs, file.bytes);
    const deadline = performance.now() + OLD_LEADER_MS;
    for (let pauseMs = SHORTEST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      try {
        return await this.#bus.put(this.#stream, this.#layout.state(id), header, payload, options);
      } catch (error) {
        if (!(error instanceof WrongSequence)) throw error;
      }
      const found = await this.read(id);
      // A leader that died after it had written this may have taken the write's id with it: the repetition comes too late for itself.
      if (found?.head.nonce === head.nonce) return found.revision;
      if ((found?.revision ?? 0) > expected || performance.now() > deadline) return undefined;
      // Refused without a later write that could be the reason: by a leader that was suspended, while another leader may have taken it.
      await setTimeout(pauseMs);
    }
  }

  /**
   * Rejects with `storage_full` when a new request could keep one that is there from ending.
   * @param files What will be kept for it.
   */
  async checkRoom(files?: InputFiles): Promise<void> {
    await this.#room.check();
    if (files === undefined) return;
    this.#room.took(this.#layout.streams.inputs, files.image.byteLength + (files.mask?.byteLength ?? 0));
  }

  /** Forgets ends before their time, oldest first, where the stream is too full. Returns how many. */
  async makeRoom(aboveShare = FORGET_ABOVE): Promise<number> {
    const { bytes, maxBytes, messages } = await this.#bus.fill(this.#stream);
    if (bytes <= aboveShare * maxBytes) return 0;
    const share = 1 - (FORGET_DOWN_TO * maxBytes) / bytes;
    const ends = (await this.heads()).heads.filter(
      ({ head: { kind, hook } }) => kind === "ended" && hook?.isDue !== true,
    );
    const oldest = ends.toSorted((a, b) => a.revision - b.revision).slice(0, Math.max(1, Math.ceil(share * messages)));
    for (const { head } of oldest) await this.#bus.purge(this.#stream, this.#layout.state(head.id));
    return oldest.length;
  }

  /** Of every record that is there and can be read. Rejects with `BusUnavailable` where `signal` fires before all are read. */
  async heads(signal?: AbortSignal): Promise<Heads> {
    const heads = new Map<string, Heads["heads"][number]>();
    const unreadable = new Set<string>();
    const stop = new AbortController();
    const isOver = signal === undefined ? stop.signal : AbortSignal.any([stop.signal, signal]);
    for await (const stored of this.watch(isOver)) {
      if (stored === "caught-up") break;
      const head = headIfReadable(stored.header);
      if (head === undefined) unreadable.add(stored.subject);
      else heads.set(stored.subject, { head, revision: stored.sequence });
    }
    if (signal?.aborted === true) throw new BusUnavailable("the records cannot be read");
    stop.abort();
    return { heads: [...heads.values()], unreadable: unreadable.size };
  }

  watch(signal: AbortSignal): ReturnType<Bus["watch"]> {
    return this.#bus.watch(this.#stream, this.#layout.everyState, { signal, headersOnly: true });
  }

  async hasHook(id: string): Promise<boolean> {
    return (await this.#bus.get(this.#layout.streams.hooks, this.#layout.hook(id))) !== undefined;
  }

  /** The message that lets a gateway deliver a webhook. */
  async putHook(id: string): Promise<void> {
    const options = { id: `hook.${id}.${randomUUID()}` };
    await this.#bus.put(this.#layout.streams.hooks, this.#layout.hook(id), { v: 1, id }, Buffer.alloc(0), options);
  }
}
