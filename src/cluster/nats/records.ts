/** Records of streams: written on condition, read at the leader or nearby, removed, counted. */
import { MsgHdrsImpl, type MsgHdrs } from "@nats-io/transport-node";
import { z } from "zod";
import { BusRefusal, type Header, type PutOptions, type Stored, type StreamFill } from "../bus.ts";
import { bytesOf, headerIn, headersOf, NotNow, type JetStreamApi } from "./api.ts";

const written = z.object({ seq: z.number() });
const found = z.object({
  message: z.object({
    subject: z.string(),
    seq: z.number(),
    time: z.string(),
    data: z.string().default(""),
    hdrs: z.string().default(""),
  }),
});
const replica = z.object({ name: z.string(), active: z.number(), offline: z.boolean().default(false) });
const info = z.object({
  config: z.object({ max_bytes: z.number().default(-1) }),
  state: z.object({ messages: z.number(), bytes: z.number(), first_seq: z.number() }),
  cluster: z.object({ leader: z.string().optional(), replicas: z.array(replica).default([]) }).optional(),
});

const NOT_FOUND = 404;
/** The leader hears each of the others once a second. It calls one `offline`, or not `current`, much later or never. */
const AWAY_NS = 5_000_000_000;

export class Records {
  readonly #api: JetStreamApi;

  constructor(api: JetStreamApi) {
    this.#api = api;
  }

  async put(stream: string, subject: string, header: Header, payload: Buffer, options: PutOptions): Promise<number> {
    const { expected, id, ttlMs } = options;
    const head = headersOf(header);
    head.set("Nats-Msg-Id", id);
    head.set("Nats-Expected-Stream", stream);
    if (expected !== undefined) head.set("Nats-Expected-Last-Subject-Sequence", String(expected));
    if (ttlMs !== undefined) head.set("Nats-TTL", `${Math.max(1, Math.ceil(ttlMs / 1_000))}s`);
    return written.parse(await this.#api.send(subject, payload, head)).seq;
  }

  async get(stream: string, subject: string): Promise<Stored | undefined> {
    const read = await this.#api.call(`$JS.API.STREAM.MSG.GET.${stream}`, { last_by_subj: subject });
    if (read === undefined) return undefined;
    const { seq, time, data, hdrs } = found.parse(read).message;
    return {
      subject,
      sequence: seq,
      storedAtMs: Date.parse(time),
      header: hdrs === "" ? undefined : headerIn(MsgHdrsImpl.decode(Buffer.from(hdrs, "base64"))),
      payload: Buffer.from(data, "base64"),
    };
  }

  getNearby(stream: string, subject: string): Promise<Stored | undefined> {
    return this.#api.repeat(async (timeoutMs) => {
      const { headers: head, data } = await this.#api.ask(
        `$JS.API.DIRECT.GET.${stream}.${subject}`,
        Buffer.alloc(0),
        timeoutMs,
      );
      if (head === undefined) throw new BusRefusal(`${stream} answers without headers`);
      if (head.code === NOT_FOUND) return undefined;
      if (head.code !== 0) throw new Error(`${stream} answers ${head.code} ${head.description}`);
      return {
        subject: one(head, "Nats-Subject"),
        sequence: Number(one(head, "Nats-Sequence")),
        storedAtMs: Date.parse(one(head, "Nats-Time-Stamp")),
        header: headerIn(head),
        payload: bytesOf(data),
      };
    });
  }

  async purge(stream: string, subject: string): Promise<void> {
    await this.#api.call(`$JS.API.STREAM.PURGE.${stream}`, { filter: subject });
  }

  async fill(stream: string): Promise<StreamFill> {
    const { config, state, cluster } = await this.#api.repeat(async () => {
      const read = info.parse(await this.#api.call(`$JS.API.STREAM.INFO.${stream}`));
      // A server that has lost all others still answers this, and nothing else.
      if (read.cluster !== undefined && read.cluster.leader === undefined) throw new NotNow(`nobody leads ${stream}`);
      return read;
    });
    const maxBytes = config.max_bytes < 0 ? Number.POSITIVE_INFINITY : config.max_bytes;
    const awayServers = (cluster?.replicas ?? [])
      .filter(({ active, offline }) => offline || active > AWAY_NS)
      .map(({ name }) => name);
    return { messages: state.messages, bytes: state.bytes, firstSequence: state.first_seq, maxBytes, awayServers };
  }
}

function one(head: MsgHdrs, name: string): string {
  return head.last(name);
}
