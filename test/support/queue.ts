/** A queued request from the client's side. */
import { createParser } from "eventsource-parser";
import type { QueueStatus, SubmitReply } from "../../src/schema/queue.ts";
import { eventually } from "./eventually.ts";
import { post } from "./sse.ts";

export async function submit(
  url: string,
  input: object,
  { path = "/queue/local/sdxl", headers = {} }: { path?: string; headers?: Record<string, string> } = {},
): Promise<SubmitReply> {
  const response = await post(`${url}${path}`, input, { headers: { "content-type": "application/json", ...headers } });
  if (!response.ok) throw new Error(`submit answered ${response.status}: ${await response.text()}`);
  return response.json();
}

export async function statusOf(reply: SubmitReply): Promise<QueueStatus> {
  return (await fetch(`${reply.status_url}?logs=1`)).json();
}

/** Resolves with the answer of the result once there is one. */
export function resultOf(reply: Pick<SubmitReply, "status_url" | "response_url">): Promise<Response> {
  return eventually(async () => {
    const { status } = await fetch(reply.status_url);
    if (status !== 200) throw new Error(`status answered ${status}`);
    return fetch(reply.response_url);
  });
}

export interface NamedEvent {
  readonly id: string;
  readonly name: string;
  readonly data: Record<string, unknown>;
}

export interface EventsRead {
  readonly status: number;
  readonly events: NamedEvent[];
}

/** Reads named events until the stream ends, or `isEnough` says so. */
export async function readEvents(
  url: string,
  { lastEventId, isEnough = () => false }: { lastEventId?: string; isEnough?: (event: NamedEvent) => boolean } = {},
): Promise<EventsRead> {
  const leave = new AbortController();
  const response = await fetch(url, {
    headers: lastEventId === undefined ? {} : { "last-event-id": lastEventId },
    signal: leave.signal,
  });
  const events: NamedEvent[] = [];
  const parser = createParser({
    onEvent: ({ id = "", event: name = "", data }) => void events.push({ id, name, data: JSON.parse(data) }),
  });
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) {
    parser.feed(decoder.decode(chunk, { stream: true }));
    if (events.some(isEnough)) break;
  }
  leave.abort();
  return { status: response.status, events };
}
