/** What a fleet's gateways and nodes need of the store of requests beyond what a single process needs. */
import type { RequestStore } from "../../storage/request-store.ts";

/** A request as every gateway knows it, without its input and its result. */
export interface RequestState {
  readonly id: string;
  /** Of the record; it grows with every change. */
  readonly revision: number;
  readonly kind: "queued" | "running" | "ended";
  readonly app: string;
  /** Whose nodes run it; null in records of versions that knew one pool a gateway. */
  readonly pool: string | null;
  /** Who may ask about it: see `AcceptedRequest.owner`. */
  readonly owner: string | null;
  readonly priority: "normal" | "low";
  readonly acceptedAtMs: number;
  readonly startByMs: number | null;
  /** Who runs it: see {@link ownerName}. */
  readonly holder: string | null;
  /** How many tickets were made for it. */
  readonly tickets: number;
  /** It has ended, and its webhook is not settled. */
  readonly isHookDue: boolean;
}

export interface FleetRequestStore extends RequestStore {
  /** Every request, then every change; `"caught-up"` stands where the present was reached. Never ends but by `signal`. */
  watch(signal: AbortSignal): AsyncIterable<RequestState | "caught-up">;
  /**
   * Counts one more ticket: who wins may publish it. One caller wins.
   * @returns The number of the ticket; undefined when the request has changed since `revision`, or another caller was first.
   */
  countTicket(id: string, revision: number): Promise<number | undefined>;
  /** Makes sure that a webhook that is due will be delivered. Does nothing when it is on its way. */
  remindOfWebhook(id: string): Promise<void>;
}

/** How a process of a node signs its claims. */
export function ownerName(node: string, incarnation: string): string {
  return `${incarnation}@${node}`;
}

/** Undefined for an owner that is no node. */
export function ownerOf(holder: string): { readonly node: string; readonly incarnation: string } | undefined {
  const [incarnation = "", ...rest] = holder.split("@");
  return rest.length === 0 ? undefined : { incarnation, node: rest.join("@") };
}
