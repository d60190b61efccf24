/**
 * One record of a fleet's requests: what every gateway has to know in the header, the texts behind each other in the payload. What is too
 * large for a record is a file, and the header has its name.
 */
import { randomUUID } from "node:crypto";
import { z } from "zod";
import { DamagedRecord, readRequest, readResult } from "../../storage/request-record.ts";
import type { AcceptedRequest, RequestResult } from "../../storage/request-record.ts";
import type { Header, Stored } from "../bus.ts";
import type { RequestState } from "./fleet-requests.ts";

const count = z.int().min(0);

/** Bytes inside the record, or the name of a file: among those that give way (`files`), or among those that do not. */
const placed = z.union([
  z.object({ key: z.string(), bytes: count, in: z.enum(["files", "inputs"]) }),
  z.object({ bytes: count }),
]);
export type Placed = z.infer<typeof placed>;
export type PlacedFile = Extract<Placed, { readonly key: string }>;

const stateHeader = z.object({
  v: z.literal(1),
  id: z.string(),
  kind: z.enum(["queued", "running", "ended"]),
  app: z.string(),
  pool: z.string().nullable().default(null),
  owner: z.string().nullable(),
  priority: z.enum(["normal", "low"]),
  acceptedAtMs: z.number(),
  startByMs: z.number().nullable(),
  attempts: count,
  tickets: count,
  holder: z.string().nullable(),
  /** By the servers' clock, as all times that something depends on. */
  leaseUntilMs: z.number().nullable(),
  hook: z.object({ isDue: z.boolean(), failures: count, reminders: count }).nullable(),
  expiresAtMs: z.number().nullable(),
  request: placed,
  result: placed.nullable(),
  body: placed.nullable(),
  /** Unlike that of any other write: who finds it there has written it. */
  nonce: z.string(),
});

export type StateHeader = Readonly<z.infer<typeof stateHeader>>;

export interface StateRecord {
  readonly head: StateHeader;
  /** Whatever of request, result and body is inside, in this order. */
  readonly payload: Buffer;
  readonly revision: number;
}

/** A record that is about to be written: it has no revision yet. */
export type NewRecord = Omit<StateRecord, "revision">;

export function newHead(request: AcceptedRequest, place: Placed): StateHeader {
  const { id, app, pool = null, owner, priority, acceptedAtMs, startByMs, webhookUrl } = request;
  return {
    ...{ v: 1, id, app, pool, owner, priority, acceptedAtMs, startByMs, kind: "queued", attempts: 0, tickets: 1 },
    ...{ holder: null, leaseUntilMs: null, expiresAtMs: null, result: null, body: null },
    hook: webhookUrl === null ? null : { isDue: false, failures: 0, reminders: 0 },
    request: place,
    nonce: randomUUID(),
  };
}

/** The same record with other facts, as one more write. */
export function changed(record: StateRecord | NewRecord, facts: Partial<StateHeader>): NewRecord {
  return { head: { ...record.head, ...facts, nonce: randomUUID() }, payload: record.payload };
}

export function toHeader(head: StateHeader): Header {
  return head;
}

/** Undefined for one that is damaged, or of a later version: who goes through all records must get past it. */
export function headIfReadable(header: unknown): StateHeader | undefined {
  return stateHeader.safeParse(header).data;
}

/** Throws {@link DamagedRecord}. */
export function readHead(header: unknown): StateHeader {
  const parsed = stateHeader.safeParse(header);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue?.path.join(".") ?? "";
  throw new DamagedRecord(`a stored record cannot be read: ${where} ${issue?.message ?? ""}`, { cause: parsed.error });
}

export function readRecord({ header, payload, sequence }: Stored): StateRecord {
  return { head: readHead(header), payload, revision: sequence };
}

type Text = "request" | "result" | "body";
const TEXTS: readonly Text[] = ["request", "result", "body"];

/** Undefined for one that is a file, or that the record does not have. */
export function inside({ head, payload }: NewRecord, wanted: Text): Buffer | undefined {
  let start = 0;
  for (const text of TEXTS) {
    const place = head[text];
    if (place === null || "key" in place) {
      if (text === wanted) return undefined;
      continue;
    }
    const bytes = payload.subarray(start, start + place.bytes);
    if (text === wanted) return bytes;
    start += place.bytes;
  }
  return undefined;
}

/** The files that belong to a record. */
export function filesOf({ request, result, body }: StateHeader): readonly PlacedFile[] {
  return [request, result, body].filter((place) => place !== null).filter(isFile);
}

export function isFile(place: Placed): place is PlacedFile {
  return "key" in place;
}

export const parseRequest = (bytes: Buffer): AcceptedRequest => readRequest(bytes.toString());
export const parseResult = (bytes: Buffer): RequestResult => readResult(bytes.toString());

/** Undefined for one that cannot be read. */
export function toState({ header, sequence }: Pick<Stored, "header" | "sequence">): RequestState | undefined {
  const head = headIfReadable(header);
  if (head === undefined) return undefined;
  const { id, kind, app, pool, owner, priority, acceptedAtMs, startByMs, holder, tickets, hook } = head;
  const facts = { app, pool, owner, priority, acceptedAtMs, startByMs, holder, tickets };
  return { id, revision: sequence, kind, ...facts, isHookDue: hook?.isDue === true };
}
