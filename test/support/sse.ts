/** Reads a stream the plain way: bytes, frames, JSON. */
import { createParser } from "eventsource-parser";

export interface StreamRead {
  readonly status: number;
  readonly headers: Headers;
  /** Everything as it came over the wire. */
  readonly raw: string;
  readonly events: Record<string, unknown>[];
  /** Set when the connection did not end cleanly. */
  readonly broken: unknown;
}

export async function postStream(url: string, body: unknown, init: RequestInit = {}): Promise<StreamRead> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    ...init,
  });
  const events: Record<string, unknown>[] = [];
  const parser = createParser({ onEvent: ({ data }) => void events.push(JSON.parse(data)) });
  const decoder = new TextDecoder();
  let raw = "";
  let broken: unknown;
  try {
    for await (const chunk of response.body ?? []) {
      const text = decoder.decode(chunk, { stream: true });
      raw += text;
      parser.feed(text);
    }
  } catch (error) {
    broken = error;
  }
  return { status: response.status, headers: response.headers, raw, events, broken };
}

export function post(url: string, body: unknown, init: RequestInit = {}): Promise<Response> {
  return fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    ...init,
  });
}
