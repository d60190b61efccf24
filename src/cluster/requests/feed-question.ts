/** Asks the node that holds a request what has happened so far. */
import type { JobEvent } from "../../jobs/events.ts";
import type { LogLine } from "../../schema/queue.ts";
import type { Bus, BusMessage } from "../bus.ts";
import { feedAnswer, toJobEvent, type FeedAnswer } from "./durable-wire.ts";
import { ownerOf } from "../storage/fleet-requests.ts";
import type { Layout } from "../layout.ts";
import { WIRE_VERSION } from "../wire.ts";

/** What a node is asked at {@link Layout.toNode}. */
export const FEED = "feed";

export interface Backlog {
  readonly run: number;
  /** In order. */
  readonly entries: readonly { readonly n: number; readonly c: number; readonly event: JobEvent }[];
  readonly logs: readonly LogLine[];
}

const TIMEOUT_MS = 2_000;

/** Undefined when the holder does not answer, or does not hold the request. */
export async function askFeed(
  bus: Bus,
  layout: Layout,
  holder: string,
  { id, run, after }: { readonly id: string; readonly run: number; readonly after: number },
): Promise<Backlog | undefined> {
  const owner = ownerOf(holder);
  if (owner === undefined) return undefined;
  const question = { v: WIRE_VERSION, id, run, after };
  let message: BusMessage;
  try {
    message = await bus.request(layout.toNode(owner.node, FEED), question, { timeoutMs: TIMEOUT_MS });
  } catch {
    // Dead, cut off or on its way: whoever asks looks again.
    return undefined;
  }
  const parsed = feedAnswer.safeParse(message.header);
  if (!parsed.success || parsed.data.run === null) return undefined;
  const { entries, preview, logs } = parsed.data;
  const steps = entries.map(({ n, c, event }) => ({ n, c, event: toJobEvent(event) }));
  const all = preview === null ? steps : [...steps, toPreview(preview, message.payload)];
  return { run: parsed.data.run, entries: all.toSorted((a, b) => a.n - b.n), logs };
}

function toPreview(
  { n, c, event, images }: NonNullable<FeedAnswer["preview"]>,
  payload: Buffer,
): { readonly n: number; readonly c: number; readonly event: JobEvent } {
  let offset = 0;
  const encoded = images.map(({ bytes, content_type: contentType, width, height, seed }) => {
    const from = offset;
    offset += bytes;
    return { bytes: payload.subarray(from, offset), contentType, width, height, seed };
  });
  return { n, c, event: { kind: "preview", step: event.step, totalSteps: event.total_steps, images: encoded } };
}
