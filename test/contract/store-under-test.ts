/** What the contract suites need of an implementation of the stores. */
import type { AcceptedRequest } from "../../src/storage/request-record.ts";
import type { ObjectStore } from "../../src/storage/object-store.ts";
import type { Ended, RequestStore } from "../../src/storage/request-store.ts";

export interface StoreOptions {
  readonly limitBytes?: number;
}

export interface StoreUnderTest extends AsyncDisposable {
  /** Of the process that is alive now; others after each restart. */
  readonly requests: RequestStore;
  readonly objects: ObjectStore;
  /** How long ended requests and objects are kept. */
  readonly keepMs: number;
  /** Lets time pass. */
  advance(ms: number): void;
  /** The process ends in order, or dies; the next one opens what it left. */
  restart(how: "orderly" | "crash"): Promise<void>;
}

/** A store of its own for each call. */
export type OpenStore = (options?: StoreOptions) => Promise<StoreUnderTest>;

/** @param id Also its age: ids sort by acceptance. */
export function request(id: string, extras: Partial<AcceptedRequest> = {}): AcceptedRequest {
  return {
    id,
    app: "local/sdxl",
    dialect: "latentcast",
    baseUrl: "http://x",
    owner: null,
    input: null,
    warnings: [],
    traceparent: null,
    priority: "normal",
    acceptedAtMs: Number(id),
    startByMs: null,
    webhookUrl: null,
    ...extras,
  };
}

/** @param mark Tells this end from others. */
export function ended(mark: number, bodyBytes = 10): Ended {
  return {
    result: { endedAtMs: mark, error: null, inferenceMs: 5, logs: [] },
    body: Buffer.alloc(bodyBytes, String(mark)),
  };
}

export async function unfinishedIds(store: RequestStore): Promise<string[]> {
  const ids: string[] = [];
  for await (const { request: stored } of store.unfinished()) ids.push(stored.id);
  return ids;
}
