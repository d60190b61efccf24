/** The events of one request across as many connections as it takes. */
import type { Connection } from "./connection.ts";
import { cancelled, connectionFailed, ClientError } from "./error.ts";
import { pauseUnlessAborted, pauseBefore } from "./pause.ts";
import { readEvents } from "./server-events.ts";
import type { Turn } from "./turns.ts";
import type { ClientResult, ClientEvent } from "./types.ts";
import { decodeEvent, type Decoded } from "./wire.ts";

export interface FollowOptions {
  readonly connection: Connection;
  readonly requestId: string;
  readonly signal: AbortSignal;
  readonly onEvent: (event: ClientEvent) => Promise<void>;
}

type LastEvent = Exclude<Decoded, { kind: "event" | "unknown" }>;

/**
 * Resolves with the result. A connection that breaks off is taken up again after the last event that arrived, for about half a
 * minute without news; then it rejects with `connection_failed`. Rejects with `cancelled` when aborted.
 */
export async function follow(options: FollowOptions): Promise<ClientResult> {
  const { signal } = options;
  const place = { lastEventId: "" };
  let attempt = 0;
  while (true) {
    const before = place.lastEventId;
    let last: LastEvent | undefined;
    let hasYielded = false;
    let failure = connectionFailed("the stream ended before the request did");
    const turn = await options.connection.turns.take(signal);
    if (turn === undefined) throw cancelled(signal.reason);
    try {
      last = await readUntilLast(options, place, turn);
      hasYielded = turn.over.aborted;
    } catch (error) {
      if (!(error instanceof ClientError) || !isPassing(error)) throw error;
      failure = error;
    } finally {
      turn.end();
    }
    if (last?.kind === "result") return last.result;
    if (last !== undefined) throw last.error;
    if (signal.aborted) throw cancelled(signal.reason);
    if (place.lastEventId !== before) attempt = 0;
    // Others have the connection now; this stream goes on when it is its turn again.
    if (hasYielded) continue;
    const pauseMs = pauseBefore(attempt);
    if (pauseMs === undefined) throw failure;
    attempt += 1;
    await pauseUnlessAborted(pauseMs, signal);
    if (signal.aborted) throw cancelled(signal.reason);
  }
}

async function readUntilLast(
  { connection, requestId, signal, onEvent }: FollowOptions,
  place: { lastEventId: string },
  turn: Turn,
): Promise<LastEvent | undefined> {
  const response = await connection.open(`/requests/${encodeURIComponent(requestId)}/events`, {
    signal,
    headers: {
      accept: "text/event-stream",
      ...(place.lastEventId === "" ? {} : { "last-event-id": place.lastEventId }),
    },
  });
  for await (const { event: name, id, data } of readEvents(response, turn.over)) {
    if (id !== undefined) place.lastEventId = id;
    const decoded = decodeEvent(name, data, requestId);
    if (decoded.kind === "event") await onEvent(decoded.event);
    else if (decoded.kind !== "unknown") return decoded;
    if (signal.aborted) return undefined;
  }
  return undefined;
}

/** Whether the same request may well be answered in a while: the network, a proxy, a server that starts again. */
function isPassing({ code, status }: ClientError): boolean {
  if (code === "connection_failed" || code === "rate_limited" || code === "overloaded" || code === "draining")
    return true;
  return code === "unexpected_response" && status !== undefined && status >= 500;
}
