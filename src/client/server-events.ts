/** Named events of one answer, until it ends. */
import { createParser, type EventSourceMessage } from "eventsource-parser";
import { ClientError } from "./error.ts";

/** Four uncompressed-looking images of 2048 × 2048 as base64 are 68 million characters; nothing honest is twice that. */
const MAX_EVENT_LENGTH = 2 ** 27;

/** A server says at least a comment every 15 s; three missed ones are a connection that is gone without saying so. */
const SILENCE_MS = 45_000;

/** Events and comments end with it; no line of ours is cut off after one. */
const LINE_FEED = 10;

/**
 * Yields events as they come. Ends when the answer ends or breaks off, which looks alike: the caller knows whether it was complete.
 * @param leave Ends it too, but not in the middle of an event: on a slow line an image takes its time.
 */
export async function* readEvents(
  response: Response,
  leave: AbortSignal,
): AsyncGenerator<EventSourceMessage, void, undefined> {
  const type = response.headers.get("content-type") ?? "";
  if (response.body === null || !type.startsWith("text/event-stream")) {
    await response.body?.cancel();
    throw new ClientError("unexpected_response", "The server's answer is not a stream of events.", {
      status: response.status,
    });
  }
  const arrived: EventSourceMessage[] = [];
  const parser = createParser({ onEvent: (event) => void arrived.push(event), maxBufferSize: MAX_EVENT_LENGTH });
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  let isBetweenEvents = true;
  const stop = (): void => {
    if (isBetweenEvents) reader.cancel().catch(() => undefined);
  };
  leave.addEventListener("abort", stop);
  try {
    while (!(leave.aborted && isBetweenEvents)) {
      const chunk = await readWithin(reader, SILENCE_MS);
      if (chunk === undefined) return;
      parser.feed(decoder.decode(chunk, { stream: true }));
      isBetweenEvents = chunk.at(-1) === LINE_FEED;
      yield* arrived.splice(0);
    }
  } finally {
    leave.removeEventListener("abort", stop);
    // Rejects when the connection is broken already; then there is nothing left to release.
    reader.cancel().catch(() => undefined);
  }
}

/** The next chunk; undefined when there is none, for whatever reason. */
async function readWithin(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  ms: number,
): Promise<Uint8Array | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  try {
    return await Promise.race([reader.read().then(({ value }) => value), silence]);
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
  }
}
