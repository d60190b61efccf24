/** Questions to JetStream, repeated over elections, and its refusals in the words of the port. */
import { headers, errors, type Msg, type MsgHdrs, type NatsConnection } from "@nats-io/transport-node";
import { z } from "zod";
import { toAsciiJson } from "../../schema/ascii-json.ts";
import {
  BusForbidden,
  BusRefusal,
  BusUnavailable,
  NO_MAJORITY,
  StreamFull,
  WrongSequence,
  type Header,
} from "../bus.ts";

/** Elections take 4 to 9 s. */
const PATIENCE_MS = 10_000;
/** A leader that is frozen answers nothing; its successor knows of what it had confirmed. */
const ANSWER_MS = 2_000;
const PAUSE_MS = 100;
const HEADER = "Lc";

const WRONG_SEQUENCE = new Set([10_071, 10_164]);
export const FULL: ReadonlySet<number> = new Set([10_023, 10_028, 10_047, 10_077]);
/** No leader yet, or the same write is on its way. */
export const TEMPORARY: ReadonlySet<number> = new Set([10_008, 10_009, 10_158]);
const NO_MESSAGE = 10_037;

const answer = z.looseObject({
  error: z
    .object({ code: z.number(), err_code: z.number().default(0), description: z.string().default("") })
    .optional(),
});

export type Answer = z.infer<typeof answer>;

export class JetStreamApi {
  readonly #connection: NatsConnection;

  constructor(connection: NatsConnection) {
    this.#connection = connection;
  }

  /**
   * The answer of one call; undefined when there is no such message. Rejects with `WrongSequence`, `StreamFull`, `BusRefusal`; with
   * `BusUnavailable` when there was none for 10 s.
   */
  call(subject: string, body: object = {}): Promise<Answer | undefined> {
    return this.send(subject, Buffer.from(JSON.stringify(body)));
  }

  send(subject: string, payload: Uint8Array, head?: MsgHdrs): Promise<Answer | undefined> {
    return this.repeat(async (timeoutMs) => {
      const message = await this.ask(subject, payload, timeoutMs, head);
      return readAnswer(message);
    });
  }

  ask(subject: string, payload: Uint8Array, timeout: number, head?: MsgHdrs): Promise<Msg> {
    return this.#connection.request(subject, payload, { timeout, ...(head === undefined ? {} : { headers: head }) });
  }

  /** Until the attempt resolves or says that another one is of no use. */
  async repeat<Value>(attempt: (timeoutMs: number) => Promise<Value>): Promise<Value> {
    const deadline = performance.now() + PATIENCE_MS;
    let last: unknown;
    while (performance.now() < deadline && !this.#connection.isClosed()) {
      try {
        return await attempt(ANSWER_MS);
      } catch (error) {
        if (isFinal(error)) throw toRefusal(error);
        last = error;
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    throw new BusUnavailable(NO_MAJORITY, { cause: last });
  }
}

/** The server said that it cannot answer now. */
export class NotNow extends Error {}

function readAnswer({ data }: Msg): Answer | undefined {
  const read = answer.parse(JSON.parse(Buffer.from(data).toString()));
  if (read.error === undefined) return read;
  const { code, err_code: reason, description } = read.error;
  if (reason === NO_MESSAGE) return undefined;
  if (WRONG_SEQUENCE.has(reason)) throw new WrongSequence(description);
  if (FULL.has(reason)) throw new StreamFull(description);
  if (TEMPORARY.has(reason) || code === 503) throw new NotNow(description);
  throw new BusRefusal(description);
}

function isFinal(error: unknown): boolean {
  return (
    [WrongSequence, StreamFull, BusRefusal, z.ZodError].some((kind) => error instanceof kind) || isForbidden(error)
  );
}

function isForbidden(error: unknown): boolean {
  if (error instanceof errors.PermissionViolationError) return true;
  return error instanceof Error && error.cause instanceof errors.PermissionViolationError;
}

export function toRefusal(error: unknown): unknown {
  return isForbidden(error)
    ? new BusForbidden("NATS does not allow this to these credentials", { cause: error })
    : error;
}

export function headersOf(header: Header): MsgHdrs {
  const made = headers();
  made.set(HEADER, toAsciiJson(header));
  return made;
}

/** Undefined when there is none, or none that is JSON. */
export function headerIn(head: MsgHdrs | undefined): unknown {
  const text = head?.get(HEADER);
  if (text === undefined || text === "") return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export function bytesOf(data: Uint8Array): Buffer {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}
