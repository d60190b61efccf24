/**
 * Server-Sent Events as fal's clients need them: `data:` lines of ASCII JSON and comments, nothing else. Frames are made when the
 * socket has room for them, so what a slow reader misses was never encoded.
 */
import type { ServerResponse } from "node:http";
import { Readable } from "node:stream";
import type { FastifyReply } from "fastify";
import { toAsciiJson } from "../schema/ascii-json.ts";
import { cutOff, needsReset } from "./cut-off.ts";

/** Proxies and load balancers cut connections that are silent for 60 s, some after 30. */
const KEEP_ALIVE_MS = 15_000;
/** A reader that has taken nothing for this long is a proxy that keeps the connection of a client that left. */
const STALL_MS = 120_000;
/** How long the last words of a failed stream may take to reach the socket before it is destroyed all the same. */
const LAST_WORDS_MS = 2_000;
/** A reader that finds the last bytes and the reset at once takes them for a clean end (libuv does): it gets time to read them. */
const BEFORE_RESET_MS = 100;

export function dataFrame(value: object): string {
  return `data: ${toAsciiJson(value)}\n\n`;
}

/** A comment ends with its line: with an empty line after it, @microsoft/fetch-event-source makes an event without data of it. */
function comment(text: string): string {
  return `: ${text}\n`;
}

/** Thrown by a source of frames after its last one: the connection must not end cleanly, or the failure would pass for a result. */
export class StreamFailure extends Error {
  override readonly name = "StreamFailure";
}

interface StreamTimes {
  readonly keepAliveMs: number;
  readonly stallMs: number;
}

const TIMES: StreamTimes = { keepAliveMs: KEEP_ALIVE_MS, stallMs: STALL_MS };

/**
 * Sends `frames` as the body. The source is closed by the caller's own listener on the response's `close` event: a generator that
 * waits for its next event does not notice that its reader has gone.
 */
export function sendEvents(
  reply: FastifyReply,
  frames: AsyncIterable<string | Buffer>,
  times: Partial<StreamTimes> = {},
): FastifyReply {
  const body = Readable.from(eventStream(frames, reply.raw, { ...TIMES, ...times }), {
    objectMode: false,
    highWaterMark: 1,
  });
  return (
    reply
      .header("content-type", "text/event-stream; charset=utf-8")
      .header("cache-control", "no-cache")
      .header("x-accel-buffering", "no")
      // No `connection: close`: Node's fetch would then take a connection that breaks off for one that ended well.
      .send(body)
  );
}

async function* eventStream(
  frames: AsyncIterable<string | Buffer>,
  response: ServerResponse,
  { keepAliveMs, stallMs }: StreamTimes,
): AsyncGenerator<string | Buffer, void, undefined> {
  // Runs out only while a frame waits to be taken: otherwise the pings wind it up again.
  const stall = setTimeout(() => cutOff(response), stallMs);
  // One timer for the whole stream, wound up again for each event.
  let endSilence: () => void = () => undefined;
  const timer = setTimeout(() => endSilence(), keepAliveMs);
  try {
    // Flushes the headers before there is anything to say.
    yield comment("welcome");
    const source = frames[Symbol.asyncIterator]();
    let next = source.next();
    while (true) {
      const silence = new Promise<"silent">((resolve) => {
        endSilence = () => resolve("silent");
      });
      timer.refresh();
      stall.refresh();
      const first = await Promise.race([next, silence]);
      if (first === "silent") {
        yield comment("ping");
        continue;
      }
      if (first.done === true) return;
      yield first.value;
      next = source.next();
    }
  } catch (error) {
    if (error instanceof StreamFailure) await flushed(response);
    cutOff(response);
    throw error;
  } finally {
    clearTimeout(timer);
    clearTimeout(stall);
  }
}

/** Destroying a socket drops what it has not yet handed to the kernel, so the last frame must have got there first. */
async function flushed(response: ServerResponse): Promise<void> {
  const timers: NodeJS.Timeout[] = [];
  await new Promise<void>((resolve) => {
    timers.push(setTimeout(resolve, LAST_WORDS_MS));
    response.once("close", resolve);
    response.write(comment("failed"), () => {
      if (needsReset(response)) timers.push(setTimeout(resolve, BEFORE_RESET_MS));
      else resolve();
    });
  });
  for (const timer of timers) clearTimeout(timer);
}
