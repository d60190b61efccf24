/** Named events as frames of Server-Sent Events. */
import { RequestPutOff, type RequestEvent } from "../requests/request-events.ts";
import { StreamFailure } from "./sse.ts";

/**
 * Bytes, not text: every listener gets the same ones, where a string would be encoded again for each of them (two fifths of an event's cost
 * with a hundred listeners).
 */
const FRAMES = new WeakMap<RequestEvent, Buffer>();
const FRAME_END = Buffer.from("\n\n");

/** Breaks off, instead of ending, when the server ends before the request. */
export async function* encodeEvents(events: AsyncIterable<RequestEvent>): AsyncGenerator<Buffer, void, undefined> {
  try {
    for await (const event of events) yield frameOf(event);
  } catch (error) {
    throw error instanceof RequestPutOff ? new StreamFailure("the server ends", { cause: error }) : error;
  }
}

function frameOf(event: RequestEvent): Buffer {
  const { id, name, json } = event;
  const frame = FRAMES.get(event) ?? Buffer.concat([Buffer.from(`id: ${id}\nevent: ${name}\ndata: `), json, FRAME_END]);
  FRAMES.set(event, frame);
  return frame;
}
